"""Learning: fitting models to data, and comparing them."""
