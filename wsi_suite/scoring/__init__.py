"""Intensity classes and scores, from the table of nuclei alone."""
