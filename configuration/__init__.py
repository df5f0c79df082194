"""The one YAML file of all parts: strict, whole or not at all, and its mistakes told with path, rule and value.

A leaf: `sections`, `model` and `target` hold the settings and their defaults, `reading` turns a file into them.
"""

from configuration.model import Capture, Drift, Inference, Mirror, Model, Tenant, Window
from configuration.privacy import Bucket, FieldSchema, Privacy, Schema, Texts
from configuration.reading import convert_resolved, load, resolved_document
from configuration.rollback import Rollback
from configuration.sections import Configuration, Exporter, Kafka, Limits, Proxy
from configuration.target import Breaker, Fallback, Target, TargetTls

__all__ = [
    "Breaker",
    "Bucket",
    "Capture",
    "Configuration",
    "Drift",
    "Exporter",
    "Fallback",
    "FieldSchema",
    "Inference",
    "Kafka",
    "Limits",
    "Mirror",
    "Model",
    "Privacy",
    "Proxy",
    "Rollback",
    "Schema",
    "Target",
    "TargetTls",
    "Tenant",
    "Texts",
    "Window",
    "convert_resolved",
    "load",
    "resolved_document",
]
