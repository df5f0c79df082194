"""What is kept of one model: the last instances, their pairs and labels, each with running counts."""
