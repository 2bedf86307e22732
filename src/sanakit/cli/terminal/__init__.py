"""What all commands share: words, bars, options, places of files."""
