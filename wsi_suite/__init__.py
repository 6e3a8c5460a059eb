"""Nuclei and stain scores of whole-slide images."""
