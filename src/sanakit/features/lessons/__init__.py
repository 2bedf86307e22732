"""A few pictures of one thing beside others, so that all else stays as it was."""
