"""Grafana: the dashboards as code, what it generates, and what Grafana reads when it starts."""

import warnings

with warnings.catch_warnings():
    # It would rather have the second schema, which Grafana before 12 cannot read and files cannot provision everywhere.
    warnings.simplefilter("ignore", DeprecationWarning)
    import grafana_foundation_sdk.builders.dashboard
    import grafana_foundation_sdk.builders.prometheus  # noqa: F401 - before any module of ours asks for either
