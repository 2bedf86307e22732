"""The starter's data: emoji-like scenes whose ground truth is known exactly."""
