"""Self-supervised audio representations from recordings that hold several sounds at once."""
