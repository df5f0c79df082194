"""A list of probabilities to the two columns that it gives: which class is the likeliest, and how likely it is."""

from __future__ import annotations

from typing import Any


def likeliest(prediction: Any) -> Any:
    """Of a list of probabilities the position of the greatest, the first among equals; anything else as it is.

    An empty list stays one, and is invalid in any column.
    """
    return prediction.index(max(prediction)) if type(prediction) is list and prediction else prediction


def greatest(prediction: Any) -> Any:
    """Of a list of probabilities the greatest; None, which is missing, for anything that tells of no confidence."""
    if type(prediction) is not list:
        return None
    return max(prediction) if prediction else prediction
