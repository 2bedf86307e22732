"""What frozen encoders make of data, kept by content: latents and text features as micro-batches by number."""
