"""Impair the measured pair by hand: set, prove by packets, hold until Ctrl-C or for a time, and lift."""
