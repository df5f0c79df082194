"""The runbooks as a person pastes them: each command and each query, with its page and line, from top to end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PAGES = sorted((Path(__file__).resolve().parents[2] / "docs" / "runbooks").glob("*.md"))

_FENCE = re.compile(r"^\s*```(\w*)\s*$")
_CODE = re.compile(r"\s+# exit code (\d+)\b.*$")
_HEREDOC = re.compile(r"<<'(\w+)'")


@dataclass(frozen=True)
class Command:
    """One command of a shell block: what its exit code and, where the page shows it, its output are to be."""

    page: str
    line: int
    text: str
    code: int = 0
    says: str | None = None

    @property
    def where(self) -> str:
        """For whoever has to mend it."""
        return f"docs/runbooks/{self.page}:{self.line}: {self.text.splitlines()[0]}"

    @property
    def of_the_stack(self) -> bool:
        """Whether it takes containers."""
        return "docker compose" in self.text or self.text.startswith("make stack")

    def is_said(self, output: str) -> bool:
        """Whether an output is the one on the page; … stands for anything, and what follows the block's end counts."""
        if self.says is None:
            return True
        pattern = ".*".join(re.escape(part) for part in self.says.strip().split("…"))
        return re.match(pattern, output.strip(), re.DOTALL) is not None


@dataclass(frozen=True)
class Query:
    """One line of a query block; `may_be_empty` where its comment says so."""

    page: str
    line: int
    text: str
    may_be_empty: bool

    @property
    def where(self) -> str:
        """For whoever has to mend it."""
        return f"docs/runbooks/{self.page}:{self.line}: {self.text}"


def items(page: Path) -> Iterator[Command | Query]:
    """What there is to paste on a page, from its top to its end."""
    waiting: Command | None = None
    for kind, first, lines in _blocks(page.read_text().splitlines()):
        if kind == "text" and waiting is not None:
            waiting = Command(waiting.page, waiting.line, waiting.text, waiting.code, "\n".join(lines))
        if waiting is not None:
            yield waiting
            waiting = None
        if kind == "sh":
            *former, waiting = _commands(page.name, first, lines)
            yield from former
        elif kind == "promql":
            for number, line in enumerate(lines, first):
                text, _, comment = line.partition(" # ")
                if text.strip():
                    yield Query(page.name, number, text.strip(), comment.startswith("none"))
    if waiting is not None:
        yield waiting


def _blocks(lines: list[str]) -> Iterator[tuple[str, int, list[str]]]:
    """Each fenced block's language, the number of its first line, and its lines without the fence's indent."""
    kind, first, indent = "", 0, 0
    for number, line in enumerate(lines, 1):
        fence = _FENCE.match(line)
        if fence is None:
            continue
        if not first:
            kind, first, indent = fence[1], number + 1, len(line) - len(line.lstrip())
        else:
            yield kind, first, [inside[indent:] for inside in lines[first - 1 : number - 1]]
            first = 0


def _commands(page: str, first: int, lines: list[str]) -> Iterator[Command]:
    """A line each, but for here-documents and lines that end with a backslash."""
    number = 0
    while number < len(lines):
        begins, text = number, lines[number]
        if ends := _HEREDOC.search(text):
            number = lines.index(ends[1], number)
            text = "\n".join(lines[begins : number + 1])
        while text.endswith("\\"):
            number += 1
            text = f"{text}\n{lines[number]}"
        number += 1
        code = _CODE.search(text)
        if text.strip() and not text.lstrip().startswith("#"):
            yield Command(page, first + begins, _CODE.sub("", text).strip(), int(code[1]) if code else 0)
