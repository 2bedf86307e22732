"""Things from emoji: what each is called, its drawings and clips, its names in other languages."""
