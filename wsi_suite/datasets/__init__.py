"""Datasets of labelled nuclei: pictures, labels, versions, and other programs' formats."""
