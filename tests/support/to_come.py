"""What rules, dashboards and runbooks name already, and what no part shows yet: by name alone, until it is there."""

from typing import Final

COMMANDS: Final = frozenset({"exchanges"})
METRICS: Final = frozenset({"drift_text_pattern_total", "inference_schema_violations_total"})
