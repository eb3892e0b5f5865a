"""Tools that answer tests: how to call each, how long that takes, and what its output says."""
