"""ControlNets of a request: which pictures control, through which networks, and those that a pipeline keeps."""
