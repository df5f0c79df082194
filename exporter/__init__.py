"""Off the path: consume the events, keep windows of them, measure their drift, expose it to Prometheus."""
