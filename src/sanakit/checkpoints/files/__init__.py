"""Bytes in and out: safetensors, archives of tensors, the hub."""
