"""Grafana: the dashboards as code, what it generates, and what Grafana reads when it starts."""
