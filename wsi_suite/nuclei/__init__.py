"""The table of nuclei: columns, Parquet files, and the appearance of nuclei in training."""
