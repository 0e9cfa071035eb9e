"""Checks of this package's numbers against those of the reference implementation."""
