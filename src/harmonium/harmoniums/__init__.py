"""Harmoniums: mixtures, linear Gaussian models, hierarchies and trees of them."""
