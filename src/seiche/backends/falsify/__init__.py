"""Falsification: a search for inputs under which a node breaks its contract."""
