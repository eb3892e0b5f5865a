"""What the testbed is: data, and the ways to read it."""
