"""Measurements of the whole: the proxy beside its peers, where its time goes, what it costs."""
