"""Speed of `harmonium` beside its peers and beside hand-written JAX: `python -m benchmarks.run`."""
