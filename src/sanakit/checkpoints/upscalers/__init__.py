"""Networks that enlarge pictures: fetched once, and loaded."""
