"""From evidence to action: Alertmanager's webhook and people's commands decide which version of a model is active."""
