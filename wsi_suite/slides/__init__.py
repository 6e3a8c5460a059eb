"""Whole-slide images at one or several resolutions: opening, tissue, tiling, storing."""
