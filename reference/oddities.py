"""What the user should know of a column before a model is measured by it; one line each. No value stands in a line."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

import numpy as np

from configuration.model import Window
from privacy.identifiers import suspicion
from privacy.keyed import HASHED
from reference.columns import MAX_LISTED
from reference.profile import Categorical, Column, Numeric
from reference.tally import Tally

FEW_ROWS: Final = 10 * Window().size
"""With one fixed reference of 1,000 rows the p-values of most windows of 1,000 are off; with 10,000 of few."""

_LOOKED_AT: Final = 1000
"""Values that are looked at for what they tell."""

_MOST: Final = 0.5
_NEARLY_ALL: Final = 0.9
_TOO_FEW_TO_TELL: Final = 50
"""Among fewer rows values may all be distinct by chance."""


def few_rows(rows: int) -> Iterator[str]:
    """Whether the reference is too small."""
    if rows < FEW_ROWS:
        yield (
            f"{rows} rows are few for a reference; with {FEW_ROWS} or more (ten windows) its own chance matters little"
        )


def oddities(name: str, column: Column, tally: Tally) -> Iterator[str]:
    """What is odd about a column and the values that it was made of."""
    distinct = _distinct(column, tally)
    if distinct == 1:
        yield f"column {name} is constant: it shows drift only when another value comes"
    elif distinct >= _NEARLY_ALL * column.valid and column.valid >= _TOO_FEW_TO_TELL and _may_identify(column, tally):
        yield (
            f"column {name} looks like an identifier: {distinct} distinct values in {column.valid} rows; "
            "it always drifts, so leave it out of the training data"
        )
    elif isinstance(column, Categorical):
        yield from _of_categories(name, column, tally)
    elif max(column.counts) > _MOST * column.valid:
        yield (
            f"column {name} has {max(column.counts) / column.valid:.0%} of its values in one bin, within which nothing "
            "shows; try --binning quantile or more --bins"
        )
    if isinstance(column, Categorical) and distinct > MAX_LISTED:
        yield (
            f"column {name} has {distinct} categories, of which {MAX_LISTED} are listed; "
            f"--kind {name}=numeric if it holds numbers"
        )


def telling(name: str, tally: Tally) -> Iterator[str]:
    """Whether a column looks as if it told who somebody is; what the profile lists of it leaves the proxy in clear."""
    texts = islice((text for text in tally.texts() if not HASHED.fullmatch(text)), _LOOKED_AT)
    numbers = [int(number) for number in tally.numbers()[:_LOOKED_AT] if number == int(number)]
    why = suspicion(name if tally.texts() else "", [*texts, *numbers])
    if why is not None:
        yield f"column {name} {why}; give it a rule in `privacy.fields`, and make the profile with --privacy"


def _of_categories(name: str, column: Categorical, tally: Tally) -> Iterator[str]:
    if tally.whole_and_few() and column.type == "number":
        yield (
            f"column {name} holds whole numbers with {len(column.categories)} distinct values, taken as categories; "
            f"--kind {name}=numeric if they are amounts"
        )
    if column.counts[-1] > _MOST * column.valid and column.valid >= _TOO_FEW_TO_TELL:
        yield (
            f"column {name} has {column.counts[-1] / column.valid:.0%} of its values in one bin, _other, "
            "whose categories are too many or too rare to be monitored"
        )


def _distinct(column: Column, tally: Tally) -> int:
    if isinstance(column, Numeric):
        return 1 if column.minimum == column.maximum else len(np.unique(tally.numbers()))
    return len(tally.categories()[1])


def _may_identify(column: Column, tally: Tally) -> bool:
    """Fractions are distinct by nature; whole numbers and texts are not."""
    if isinstance(column, Categorical):
        return True
    numbers = tally.numbers()
    return bool((numbers == np.floor(numbers)).all())
