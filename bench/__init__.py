"""Measurements that a reader can repeat; results lie beside them."""
