"""Geometry: manifolds and their points, embeddings, covariance structures, and linear maps."""
