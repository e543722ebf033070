"""Figures, measured beside peers in the same run: see README.md."""
