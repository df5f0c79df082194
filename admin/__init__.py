"""The endpoints that every part has beside its work: health, readiness and metrics."""
