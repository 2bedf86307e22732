"""What is fetched once and kept: wheels of the package index, and folders of the user's cache that are made of them."""
