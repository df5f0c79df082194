"""The flights of one seed and the two models fitted on them, once for all of the demo's tests."""

from __future__ import annotations

import pytest

from demo.flights import Halves, load
from demo.models import Model, train

SEED = 1


@pytest.fixture(scope="session")
def halves() -> Halves:
    return load(SEED)


@pytest.fixture(scope="session")
def v1(halves: Halves) -> Model:
    return train("v1", halves.training, SEED)


@pytest.fixture(scope="session")
def v2(halves: Halves) -> Model:
    return train("v2", halves.training, SEED)
