"""A test that needs a real part."""

import pytest

from tests.support.real_parts import nothing_left_out


def require(part: str, reason: str | None) -> None:
    """Skip the test where `reason` says why the part is missing; fail it where nothing may be left out."""
    if reason is None:
        return
    if nothing_left_out():
        pytest.fail(f"left out: {reason}", pytrace=False)
    pytest.skip(f"no real {part}: {reason}")
