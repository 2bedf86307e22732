"""Networks that look at pictures: features, and how well a picture fits a text."""
