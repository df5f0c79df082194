"""The evidence: everything known about one model as one versioned document, which exporter and readers agree on.

A leaf: the exporter writes it at `GET /evidence/{model}`; the rollback's decisions and every view read it.
"""
