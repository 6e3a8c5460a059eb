"""The bridge to QuPath."""
