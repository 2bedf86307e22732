"""``sanakit adapter``"""
