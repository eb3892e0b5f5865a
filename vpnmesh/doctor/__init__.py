"""What stands in the way of a run: questions to nodes, and how their answers are judged."""
