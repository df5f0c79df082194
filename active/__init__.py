"""The active file: who serves each model. The rollback writes it, the proxy reads it."""
