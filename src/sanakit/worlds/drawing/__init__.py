"""Scenes become pictures: grounds and places, looks with their colours and shadows, masks."""
