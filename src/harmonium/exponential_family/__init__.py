"""Exponential families: what they can do, the duality of their coordinates, and products."""
