"""How a decision takes effect: the active file, nginx, AWS's parameter store, any HTTP call."""
