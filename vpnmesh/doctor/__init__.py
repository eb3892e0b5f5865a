"""Whether a run would work: questions to nodes, and how their answers are judged."""
