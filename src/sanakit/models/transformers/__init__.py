"""Networks that predict a velocity."""
