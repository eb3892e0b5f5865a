"""The programs that measure: how each is called, and how its output is parsed."""
