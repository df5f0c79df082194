"""Pages of the documentation that hold what was measured, between two marks."""

from __future__ import annotations

END = "<!-- end of what was measured -->"


def begin(target: str, file: str) -> str:
    """The mark before it: who makes it, and of what."""
    return f"<!-- measured: made by `make {target}` from bench/results/{file} -->"


def into(page: str, mark: str, text: str) -> str:
    """The page with the text behind that mark, in place of what stood there. ValueError where it has no such mark."""
    before, found, rest = page.partition(mark)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise ValueError(f"the page lacks {mark}, or {END} behind it")
    return f"{before}{mark}\n\n{text}\n{END}{after}"
