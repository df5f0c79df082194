"""The command `shadowdrift`: finds the part that is asked for and hands over."""
