"""The scorer of the starter's world."""
