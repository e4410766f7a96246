"""What every slice stands on: context, transactions, outbox, routing, object bytes; not a word of MLOps."""
