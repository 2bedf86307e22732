"""What a picture looks like to a ControlNet: edges, lines, scribbles, blurred pictures."""
