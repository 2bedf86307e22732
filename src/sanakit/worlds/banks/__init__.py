"""Banks: pictures of named things from many sides, of places and of people, and what is known about each."""
