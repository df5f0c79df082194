"""The one YAML file of all parts: strict, whole or not at all, and its mistakes told with path, rule and value.

A leaf: `sections` and `model` hold the settings and their defaults, `reading` turns a file into them.
"""

from configuration.model import Capture, Drift, Inference, Mirror, Model, Target, Tenant, Window
from configuration.reading import convert_resolved, load, resolved_document
from configuration.sections import Configuration, Exporter, Kafka, Limits, Proxy

__all__ = [
    "Capture",
    "Configuration",
    "Drift",
    "Exporter",
    "Inference",
    "Kafka",
    "Limits",
    "Mirror",
    "Model",
    "Proxy",
    "Target",
    "Tenant",
    "Window",
    "convert_resolved",
    "load",
    "resolved_document",
]
