"""What is asked and what came of it: scenarios, the matrix, checks around every repetition, outcomes and records."""
