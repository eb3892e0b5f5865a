"""Statistics: sequences in, records out."""
