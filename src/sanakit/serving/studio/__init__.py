"""A page for people over the server's own endpoints, and the gallery of what they made."""
