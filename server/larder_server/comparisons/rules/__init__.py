"""What the slice decides, without a database: rows, whether runs may be compared, reasons, consoles."""
