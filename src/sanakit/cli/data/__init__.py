"""``sanakit data``"""
