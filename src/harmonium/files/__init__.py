"""Files: saving and loading models, points and fits."""
