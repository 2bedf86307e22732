"""Commands that answer others: a server, a page."""
