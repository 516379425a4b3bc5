"""What is computed, and in which order: nodes, statements, one file a pass, the schedule."""
