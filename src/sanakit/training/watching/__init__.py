"""What is written down of a run: log, trackers, samples, report."""
