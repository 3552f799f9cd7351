"""Pairs of more pictures than a folder holds: tar shards, parquet files and streams, read where they lie."""
