"""Measurements: the proxy beside nginx and Envoy, the emitter, stops, the spool; README.md tells how to repeat them."""
