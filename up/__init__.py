"""The whole as one process tree: proxy, exporter and, where asked for, a broker for development."""
