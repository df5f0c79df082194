"""A Parquet file's rows, a part of a row group at a time, as the JSON values that requests would carry.

Decimals are numbers; dates and times are texts, as ISO 8601 has them; binary and nested values are invalid, but for a
list of probabilities in the column `prediction`.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lifecycle.refusal import Refusal
from reference.draft import CHUNK_ROWS, Draft
from reference.profile import PREDICTION

if TYPE_CHECKING:
    import pyarrow

INSTALL: Final = 'pip install "shadowdrift[parquet]"'
_INDEX: Final = "__index_level_"
"""How pandas names an index among the columns; no request carries it."""


def read_parquet(path: Path, draft: Draft) -> None:
    """Read the training data into the draft. Raises `Refusal`, one line, also where pyarrow is missing."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise Refusal(f"{path}: Parquet files need pyarrow, which is not installed: {INSTALL}") from None
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            names = [name for name in file.schema_arrow.names if not name.startswith(_INDEX)]
            twice = [name for name, times in Counter(names).items() if times > 1]
            if twice:
                raise Refusal(f"{path} names the column {twice[0]} twice")
            for batch in file.iter_batches(CHUNK_ROWS):
                draft.add({name: _values(name, batch.column(name)) for name in names}, batch.num_rows)
    except (OSError, pyarrow.ArrowException) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise Refusal(f"{path} cannot be read as Parquet: {reason.rstrip('.').lower()}") from None


def _values(name: str, column: pyarrow.Array) -> list[Any]:
    from pyarrow import types

    kind = column.type
    if types.is_dictionary(kind):
        column, kind = column.dictionary_decode(), kind.value_type
    if types.is_decimal(kind):
        column = column.cast("float64")
    elif types.is_temporal(kind):
        column = column.cast("string")
    elif not (_is_scalar(kind) or (name == PREDICTION and _is_list(kind))):
        return [[] if valid else None for valid in column.is_valid().to_pylist()]
    return list(column.to_pylist())


def _is_scalar(kind: pyarrow.DataType) -> bool:
    from pyarrow import types

    tests = (types.is_boolean, types.is_integer, types.is_floating, types.is_string, types.is_large_string)
    return types.is_null(kind) or any(test(kind) for test in tests)


def _is_list(kind: pyarrow.DataType) -> bool:
    from pyarrow import types

    return any(test(kind) for test in (types.is_list, types.is_large_list, types.is_fixed_size_list))
