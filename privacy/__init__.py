"""What nobody outside may learn: keys, keyed hashes, patterns of personal data, and what can be told of a text.

A leaf: the emitter hides with it, and `shadowdrift profile` describes training data in the same words.
"""
