"""``sanakit eval``"""
