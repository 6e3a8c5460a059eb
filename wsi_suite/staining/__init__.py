"""Optical density, stain separation and measurement in nuclei."""
