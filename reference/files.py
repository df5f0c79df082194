"""A file of training data to a profile: the same rows give the same profile, in whatever format they stand.

As far as the format can carry types, that is: a CSV file has texts alone, and `csv_rows` says how they are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from reference.csv_rows import read_csv
from reference.draft import Draft, Result
from reference.json_rows import read_json_lines
from reference.parquet_rows import read_parquet
from reference.profile import Binning
from reference.tally import Kind
from reference.treatment import Treatment

Format = Literal["csv", "jsonl", "parquet"]

FORMATS: Final[Mapping[str, Format]] = {
    ".csv": "csv",
    ".json": "jsonl",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
"""By the ending of a file's name; any other is taken for CSV."""


def profile_of(
    path: Path,
    binning: Binning,
    kinds: Mapping[str, Kind],
    description: str = "",
    form: Format | None = None,
    treatment: Treatment | None = None,
) -> Result:
    """The profile of the training data, and what is odd about it. `form` is told where the file's name is silent.

    `treatment` hides the values as the model's proxy hides them.

    Raises `Refusal`, one line, for a file that is no table.
    """
    read_as = kinds if treatment is None else {**treatment.kinds, **kinds}
    draft = Draft(str(path), kinds, treatment)
    match form or FORMATS.get(path.suffix.lower(), "csv"):
        case "parquet":
            read_parquet(path, draft)
        case "jsonl":
            read_json_lines(path, draft)
        case "csv":
            read_csv(path, read_as, draft)
    return draft.finished(binning, description)
