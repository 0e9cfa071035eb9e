"""Soundscapes with known events: planned by a seed, then rendered, labelled and counted."""
