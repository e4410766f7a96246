"""Views: states of pages, kept under a name or a short id."""
