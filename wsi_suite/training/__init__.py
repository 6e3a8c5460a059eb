"""Training and evaluation of the detector on labelled tiles."""
