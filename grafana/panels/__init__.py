"""The rows of the dashboards, one module each."""
