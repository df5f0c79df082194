"""JSON lines on standard output: one event a line, with ids and numbers, never a body and never a secret."""
