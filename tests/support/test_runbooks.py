"""How the runbooks are read, or a command could be one that nobody runs."""

from __future__ import annotations

from pathlib import Path

from tests.support.runbooks import Command, Query, items

PAGE = """# Page

```sh
one --with 'a # sign'
two   # exit code 1 while it is away
cat > file <<'EOF'
{"three":
EOF

long \\
  line
```

What the last one says:

```text
taken: … serves
```

```promql
up == 0      # none while all are up
up           # all of them
```

1. In a list:

   ```sh
   last
   ```

```yaml
not: a command
```
"""


def test_each_command_and_query_has_its_line_and_what_the_page_says_of_it(tmp_path: Path) -> None:
    """Here-documents and continued lines are one command; other blocks are none."""
    (tmp_path / "page.md").write_text(PAGE)
    assert list(items(tmp_path / "page.md")) == [
        Command("page.md", 4, "one --with 'a # sign'"),
        Command("page.md", 5, "two", 1),
        Command("page.md", 6, "cat > file <<'EOF'\n{\"three\":\nEOF"),
        Command("page.md", 10, "long \\\n  line", 0, "taken: … serves"),
        Query("page.md", 21, "up == 0", True),
        Query("page.md", 22, "up", False),
        Command("page.md", 28, "last"),
    ]


def test_an_output_is_compared_with_the_pages_but_for_what_differs() -> None:
    """… stands for anything; more lines may follow."""
    command = Command("page.md", 1, "x", says="flights: taken: … serves\nnext")
    assert command.is_said("flights: taken: v1 serves\nnext\nand more\n")
    assert not command.is_said("flights: refused: v1 serves already\n")
    assert not command.is_said("flights: taken: v1 serves\n")
    assert Command("page.md", 1, "x").is_said("anything")
