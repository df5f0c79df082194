"""What rules, dashboards and runbooks name already, and what no part shows yet: by name alone, until it is there."""

from typing import Final

COMMANDS: Final = frozenset({"exchanges", "rollback"})

METRICS: Final = frozenset(
    {
        "drift_absolute_error",
        "drift_accuracy_pvalue",
        "drift_accuracy_ratio",
        "drift_brier_score",
        "drift_disagreement_ratio",
        "drift_disagreement_ratio_lower",
        "drift_disagreement_ratio_upper",
        "drift_labels_total",
        "drift_pair_completeness_ratio",
        "drift_pair_sign_pvalue",
        "drift_pairs",
        "drift_pairs_mismatched_total",
        "drift_pairs_unequal_total",
        "drift_prediction_delta",
        "drift_text_pattern_total",
        "inference_schema_violations_total",
        "rollback_armed",
        "rollback_decisions_total",
        "rollback_latched",
    }
)
