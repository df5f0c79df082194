"""The stack's files, as far as they can be judged without an engine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import jsonschema
import pytest
import yaml

from configuration import load

CHECKOUT = Path(__file__).resolve().parents[2]
COMPOSE: Final = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
OURS: Final = [name for name, service in SERVICES.items() if "build" in service]
LONG: Final = [name for name, service in SERVICES.items() if service.get("restart") == "unless-stopped"]

DAYS: Final = {"shadow": 30, "production": 90}


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_pinned_limited_and_stripped_of_rights(name: str) -> None:
    """A tag that names a version, limits, no capability by default, logs that do not grow without end."""
    service = SERVICES[name]
    assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+[\w.-]*", service["image"])
    assert set(service["deploy"]["resources"]["limits"]) == {"memory", "cpus"}
    assert service["cap_drop"] == ["ALL"]
    assert service["logging"]["options"]["max-size"] == "10m"
    assert service["stop_grace_period"] == "20s"


@pytest.mark.parametrize("name", [name for name in LONG if "profiles" not in SERVICES[name]])
def test_every_lasting_service_is_looked_at(name: str) -> None:
    """By a health check of its own, or the image's at its own address."""
    service = SERVICES[name]
    assert "healthcheck" in service or "HEALTH_URL" in service["environment"]


@pytest.mark.parametrize("name", OURS)
def test_our_own_parts_run_on_a_read_only_root(name: str) -> None:
    """As the image's user, but for the one that places the secrets."""
    assert SERVICES[name]["read_only"] is True
    assert SERVICES[name].get("user", "10001:10001") == ("0:0" if name == "secrets" else "10001:10001")


def test_every_port_is_published_on_loopback_alone() -> None:
    """And can be moved."""
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 8
    for port in ports:
        assert re.fullmatch(r"127\.0\.0\.1:\$\{STACK_[A-Z]+_PORT:-\d+\}:\d+", port)


def test_the_proxy_reads_who_serves_and_cannot_write_it() -> None:
    """From a directory of its own; and it waits for neither Kafka nor the shadow."""
    proxy = SERVICES["proxy"]
    assert "active:/state/active:ro" in proxy["volumes"]
    assert not {"kafka", "topics", "exporter", "model-v1"} & proxy["depends_on"].keys()


def test_the_rollback_alone_writes_who_serves() -> None:
    """Everybody else who mounts that volume reads it."""
    assert _writers("active") == {"rollback"}
    settings = load(CHECKOUT / "stack" / "shadowdrift.yaml").rollback
    assert settings.token_file == "/run/rollback/rollback_token"


def _writers(volume: str) -> set[str]:
    """Who mounts it so that it can be written."""
    return {
        name
        for name, service in SERVICES.items()
        for mounted in service.get("volumes", [])
        if mounted.split(":")[0] == volume and not mounted.endswith(":ro")
    }


@pytest.mark.parametrize(
    ("environment", "dry_run", "on_feature_drift"),
    [
        ({}, True, "corroborated"),
        ({"STACK_DRY_RUN": "true", "STACK_ON_FEATURE_DRIFT": "corroborated"}, True, "corroborated"),
        ({"STACK_DRY_RUN": "false", "STACK_ON_FEATURE_DRIFT": "alone"}, False, "alone"),
    ],
)
def test_the_rollback_runs_dry_until_somebody_decides_otherwise(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], dry_run: bool, on_feature_drift: str
) -> None:
    """By two variables, which compose hands on to the rollback with the same values for where they are not set."""
    for name in ("STACK_DRY_RUN", "STACK_ON_FEATURE_DRIFT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = load(CHECKOUT / "stack" / "shadowdrift.yaml").rollback
    assert (settings.dry_run, settings.on_feature_drift) == (dry_run, on_feature_drift)
    handed = SERVICES["rollback"]["environment"]
    assert handed["STACK_DRY_RUN"] == "${STACK_DRY_RUN:-true}"
    assert handed["STACK_ON_FEATURE_DRIFT"] == "${STACK_ON_FEATURE_DRIFT:-corroborated}"


def test_nginx_takes_what_follow_writes_and_tells_it_where_follow_asks() -> None:
    """`follow` alone writes it, reads who serves and has no secret; nginx runs by `nginx/start`, which looks there."""
    settings = load(CHECKOUT / "stack" / "shadowdrift.yaml")
    follow, nginx = settings.rollback.follow, settings.rollback.nginx
    assert nginx is not None
    assert (follow.source, follow.actions, nginx.test, nginx.reload) == ("active-file", ("nginx",), None, None)
    assert _writers("nginx-active") == {"follow"}
    mounts = dict(volume.split(":")[:2] for volume in SERVICES["follow"]["volumes"])
    assert (mounts["nginx-active"], mounts["active"]) == (nginx.directory, f"{settings.state_dir}/active")
    assert mounts.keys() == {"./stack/shadowdrift.yaml", "active", "nginx-active"}
    there = dict(volume.split(":")[:2] for volume in SERVICES["nginx"]["volumes"])
    assert SERVICES["nginx"]["entrypoint"] == ["sh", f"{there['./nginx']}/start", "/tmp", there["nginx-active"]]
    assert nginx.check == SERVICES["follow"]["environment"]["HEALTH_URL"]
    assert nginx.check == f"http://nginx/nginx/active/{settings.models[0].name}"


def test_the_backup_of_nginx_is_the_version_that_the_configuration_serves() -> None:
    """Two files that must agree, and the addresses that nginx knows: every version may become its backup."""
    model = load(CHECKOUT / "stack" / "shadowdrift.yaml").models[0]
    target = model.targets[model.production].urls[0].removeprefix("http://")
    assert f"server {target} backup;" in (CHECKOUT / "nginx" / "active-upstream.conf").read_text()
    known = dict(entry.split(":", 1) for entry in SERVICES["nginx"]["extra_hosts"])
    versions = {urlsplit(url).hostname for target in model.targets.values() for url in target.urls}
    assert known.keys() == versions | {"proxy"}
    for name in known:
        assert SERVICES[name]["networks"]["default"]["ipv4_address"].endswith(known[name].rpartition(".")[2])


def test_the_image_takes_in_no_more_than_the_packages() -> None:
    """Neither an environment nor a state directory nor a secret can get into the build."""
    lines = (CHECKOUT / ".dockerignore").read_text().splitlines()
    assert lines[1] == "*"
    taken = {line[1:] for line in lines if line.startswith("!")}
    packages = re.search(r"^packages = \[(.*?)\]", (CHECKOUT / "pyproject.toml").read_text(), re.S | re.M)
    assert packages is not None
    names = {name.partition(".")[0] for name in re.findall(r'"([^"]+)"', packages[1])}
    assert taken == names | {"pyproject.toml", "requirements.lock", "README.md", "LICENSE", "stack/keep.py"}


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": {**required, **(optional or {})},
    }


TEXT: Final = {"type": "string", "minLength": 1}
PORT: Final = {"type": "integer", "minimum": 1, "maximum": 65535}
HOURS: Final = {"type": "string", "pattern": r"^\d+h$"}

# What the two manuals list, cut to the settings that are used: a misspelt one is found here, not at the first start.
LOKI: Final = _object(
    {
        "auth_enabled": {"const": False},
        "server": _object(
            {"http_listen_port": PORT},
            {"log_format": {"enum": ["logfmt", "json"]}, "log_level": {"enum": ["debug", "info", "warn", "error"]}},
        ),
        "common": _object(
            {
                "path_prefix": TEXT,
                "replication_factor": {"const": 1},
                "ring": _object({"kvstore": _object({"store": {"const": "inmemory"}})}),
                "storage": _object({"filesystem": _object({"chunks_directory": TEXT, "rules_directory": TEXT})}),
            }
        ),
        "schema_config": _object(
            {
                "configs": {
                    "type": "array",
                    "minItems": 1,
                    "items": _object(
                        {
                            "from": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\d$"},
                            "store": {"const": "tsdb"},
                            "object_store": {"const": "filesystem"},
                            "schema": {"const": "v13"},
                            "index": _object({"prefix": TEXT, "period": {"const": "24h"}}),
                        }
                    ),
                }
            }
        ),
        "compactor": _object(
            {
                "working_directory": TEXT,
                "retention_enabled": {"const": True},
                "delete_request_store": {"const": "filesystem"},
            }
        ),
        "limits_config": _object(
            {
                "retention_period": HOURS,
                "retention_stream": {
                    "type": "array",
                    "items": _object({"selector": TEXT, "priority": {"type": "integer"}, "period": HOURS}),
                },
            }
        ),
    },
    {"analytics": _object({"reporting_enabled": {"type": "boolean"}})},
)
FLUENT_BIT: Final = _object(
    {
        "service": _object({"flush": {"type": "integer"}, "log_level": TEXT, "storage.path": TEXT}),
        "parsers": {
            "type": "array",
            "items": _object({"name": TEXT, "format": {"const": "json"}, "time_key": TEXT, "time_format": TEXT}),
        },
        "pipeline": _object(
            {
                "inputs": {
                    "type": "array",
                    "items": _object(
                        {"name": {"const": "tail"}, "path": TEXT, "parser": TEXT, "tag": TEXT, "db": TEXT},
                        {
                            "read_from_head": {"type": "boolean"},
                            "refresh_interval": {"type": "integer"},
                            "storage.type": {"enum": ["memory", "filesystem"]},
                        },
                    ),
                },
                "filters": {
                    "type": "array",
                    "items": _object({"name": {"const": "grep"}, "match": TEXT, "regex": TEXT}),
                },
                "outputs": {
                    "type": "array",
                    "items": _object(
                        {"name": {"const": "loki"}, "match": TEXT, "host": TEXT, "port": PORT, "labels": TEXT},
                        {
                            "remove_keys": TEXT,
                            "drop_single_key": {"enum": ["off", "on", "raw"]},
                            "storage.total_limit_size": TEXT,
                        },
                    ),
                },
            }
        ),
    }
)


@pytest.mark.parametrize(("path", "schema"), [("loki/loki.yaml", LOKI), ("fluent-bit/stack.yaml", FLUENT_BIT)])
def test_the_log_keepers_files_hold_settings_that_exist(path: str, schema: dict[str, Any]) -> None:
    """Checked by schema, for where their images cannot be had."""
    jsonschema.validate(yaml.safe_load((CHECKOUT / "stack" / path).read_text()), schema)


def test_grafana_finds_the_log_keeper_where_it_listens() -> None:
    """As a data source beside Prometheus."""
    folder = CHECKOUT / "grafana" / "provisioning" / "datasources"
    (source,) = yaml.safe_load((folder / "loki.yml").read_text())["datasources"]
    port = yaml.safe_load((CHECKOUT / "stack" / "loki" / "loki.yaml").read_text())["server"]["http_listen_port"]
    assert (source["type"], source["url"]) == ("loki", f"http://loki:{port}")


def test_the_shadows_lines_are_kept_for_30_days_and_all_others_for_90() -> None:
    """By the label that the containers carry, the logging driver hands on and Fluent Bit makes a stream of."""
    limits = yaml.safe_load((CHECKOUT / "stack" / "loki" / "loki.yaml").read_text())["limits_config"]
    (stream,) = limits["retention_stream"]
    assert limits["retention_period"] == f"{DAYS['production'] * 24}h"
    assert (stream["selector"], stream["period"]) == ('{role="shadow"}', f"{DAYS['shadow'] * 24}h")
    output = yaml.safe_load((CHECKOUT / "stack" / "fluent-bit" / "stack.yaml").read_text())["pipeline"]["outputs"][0]
    assert "role=$attrs['shadowdrift.role']" in output["labels"]
    roles = {name: service["labels"]["shadowdrift.role"] for name, service in SERVICES.items() if "labels" in service}
    assert {name for name, role in roles.items() if role == "shadow"} == {"model-v1"}
    assert roles.keys() == SERVICES.keys() - {"loki", "fluent-bit"}
    for name in roles:
        assert "shadowdrift.part,shadowdrift.role" in SERVICES[name]["logging"]["options"]["labels"]
