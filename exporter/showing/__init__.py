"""The windows to evidence: the one document, and the gauges."""
