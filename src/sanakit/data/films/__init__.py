"""Files of clips, and the frames in them."""
