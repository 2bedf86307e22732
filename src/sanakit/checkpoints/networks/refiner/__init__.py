"""Networks of LTX-2 that refine clips, in files."""
