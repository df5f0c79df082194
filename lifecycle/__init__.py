"""How a process of shadowdrift starts, ends with its parent, and tells a user in one line why it cannot go on."""
