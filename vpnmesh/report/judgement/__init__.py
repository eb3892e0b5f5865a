"""What the figures mean: verdicts on the paper's claims, rankings, and advice with its evidence."""
