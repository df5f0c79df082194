"""The reference profile: what the training data looked like, column by column, and where a live value falls in it.

A leaf: emitter, exporter and the command `shadowdrift profile` use it.
"""
