"""Networks with fewer bits a weight."""
