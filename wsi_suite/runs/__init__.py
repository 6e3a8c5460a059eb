"""Runs on many slides: result folders, records, Dask clusters, batches and rescoring."""
