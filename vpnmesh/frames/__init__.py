"""Polars tables: their schemas, and how repetitions are aggregated."""
