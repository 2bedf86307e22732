"""Pictures and clips that others are made from."""
