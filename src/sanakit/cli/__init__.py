"""Arguments, progress bars, files and folders."""
