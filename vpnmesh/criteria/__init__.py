"""What a solution must have beside speed (paper, section 3.1)."""
