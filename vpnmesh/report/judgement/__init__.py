"""What the figures mean: claims of the paper held against data, rankings, and advice with its evidence."""
