"""Reports as values, then rendered."""
