"""The house stands as docs/architecture.md draws it: who may import whom."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LEAVES = {"active", "admin", "configuration", "events", "evidence", "lifecycle", "logs", "privacy", "reference"}
MAY_IMPORT: dict[str, set[str]] = {
    "active": set(),
    "events": set(),
    "evidence": set(),
    "lifecycle": set(),
    "logs": set(),
    "configuration": {"events", "lifecycle"},
    "admin": {"configuration", "lifecycle"},
    "privacy": {"configuration", "lifecycle"},
    "reference": {"configuration", "events", "lifecycle", "privacy"},
    "proxy": LEAVES,
    "exporter": LEAVES,
    "rollback": LEAVES,
    "up": LEAVES,
    "demo": LEAVES | {"up"},
    "cli": LEAVES,
    "grafana": set(),
    "bench": LEAVES | {"cli", "demo", "exporter", "proxy", "rollback", "up"},
}


def imported(package: str) -> set[str]:
    """The packages of ours that a package imports, itself left out."""
    found: set[str] = set()
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
    return (found & MAY_IMPORT.keys()) - {package}


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_a_package_imports_only_what_it_may(package: str) -> None:
    """Above all, proxy and exporter never import each other, and events imports nothing of ours."""
    assert imported(package) <= MAY_IMPORT[package]


def test_the_rule_covers_every_package() -> None:
    """A new folder has to say what it may import."""
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert packages == set(MAY_IMPORT)


ROOMS: dict[str, dict[str, set[str]]] = {
    "proxy": {
        "http": set(),
        "routing": {"http"},
        "shadowing": {"http", "routing"},
        "traffic": {"http", "routing", "shadowing"},
        "emitter": set(),
        "supervision": {"routing"},
    },
    "exporter": {
        "statistics": set(),
        "windows": {"statistics"},
        "reading": {"windows"},
        "showing": {"reading", "statistics", "windows"},
    },
    "rollback": {"actions": set()},
}
"""What stands before a room: it may import that, what lies in its package's own folder, and the leaves."""


@pytest.mark.parametrize(("package", "room"), [(package, room) for package, rooms in ROOMS.items() for room in rooms])
def test_a_room_imports_only_what_stands_before_it(package: str, room: str) -> None:
    """What a request or an event passes first is built on what it passes later, or the other way round, never both."""
    rooms, found = ROOMS[package], set[str]()
    for path in (ROOT / package / room).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{package}."):
                found.add((node.module or "").split(".")[1])
    assert (found & rooms.keys()) - {room} <= rooms[room]


@pytest.mark.parametrize("package", ROOMS)
def test_every_room_is_named(package: str) -> None:
    """A new one has to say what stands before it."""
    assert {path.parent.name for path in (ROOT / package).glob("*/__init__.py")} == set(ROOMS[package])
