"""Conditions put on a path: where, by which engine, and the proof that they act."""
