"""Every Python block of the documentation runs, and prints what stands below it.

The blocks of a file are one script. A ``text`` block right after a ``python`` block is what that
block prints, exactly, but for ``...``, which stands for anything; a block without one prints
nothing. ``<!-- not run: reason -->`` right before a block leaves it out.
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("**/*.md"))]
NOT_RUN = re.compile(r"<!--\s*not run:\s*(.*?)\s*-->\Z")
END = "\x1eend of block\x1e"


@dataclass
class Block:
    """A fenced block: the line of its opening fence, what it holds, what stands before it."""

    line: int
    language: str
    lines: list[str]
    before: str


def fenced_blocks(text: str) -> list[Block]:
    blocks: list[Block] = []
    before, block = "", None
    for number, line in enumerate(text.splitlines(), 1):
        if block is not None:
            if line.rstrip() == "```":
                blocks.append(block)
                block, before = None, "```"
            else:
                block.lines.append(line)
        elif line.startswith("```"):
            block = Block(number, line[3:].strip(), [], before)
        elif line.strip():
            before = line.strip()
    assert block is None, f"the block that begins in line {block and block.line} does not end"
    return blocks


def script_and_outputs(text: str) -> tuple[str, list[tuple[int, str]]]:
    """Return a script with every line where it is in ``text``, and what each block prints."""
    script = [""] * (len(text.splitlines()) + 1)
    outputs: list[tuple[int, str]] = []
    blocks = fenced_blocks(text)
    for block, following in itertools.zip_longest(blocks, blocks[1:]):
        if block.language != "python":
            continue
        left_out = NOT_RUN.match(block.before)
        if left_out:
            assert left_out[1], f"line {block.line}: say why the block is not run"
            continue
        assert not block.lines or not block.lines[0].startswith(">>>"), (
            f"line {block.line}: write plain code, and what it prints in a text block below"
        )
        for offset, line in enumerate(block.lines):
            script[block.line + offset] = line
        script[block.line + len(block.lines)] = f"print({END!r})"  # where the closing fence is
        shown = following if following and following.before == "```" else None
        expected = "\n".join(shown.lines) if shown and shown.language == "text" else ""
        outputs.append((block.line, expected))
    return "\n".join(script), outputs


def matches(expected: str, found: str) -> bool:
    pattern = ".*?".join(map(re.escape, expected.strip("\n").split("...")))
    return re.fullmatch(pattern, found.strip("\n"), re.DOTALL) is not None


def check_page(text: str, name: str, folder: Path) -> int:
    """Run the page's blocks in ``folder`` as a new user's; return how many there were."""
    script, outputs = script_and_outputs(text)
    file = folder / f"{name}.py"
    file.write_text(script, encoding="utf-8")
    hidden = ("HASHSTASH_", "XDG_")  # a new user has none, so paths are as the page shows them
    env = {key: value for key, value in os.environ.items() if not key.startswith(hidden)}
    done = subprocess.run(
        [sys.executable, file.name],
        cwd=folder,
        env={**env, "HOME": str(folder), "PYTHONIOENCODING": "utf-8", "NO_COLOR": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"line numbers are those of {name}\n{done.stderr}"
    found = done.stdout.split(f"{END}\n")
    assert len(found) == len(outputs) + 1
    for (line, expected), printed in zip(outputs, found, strict=False):
        assert matches(expected, printed), (
            f"{name}, block in line {line} shows\n{expected}\nbut prints\n{printed}"
        )
    return len(outputs)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_pages_are_true(page: Path, tmp_path: Path) -> None:
    check_page(page.read_text(encoding="utf-8"), page.stem, tmp_path)


GOOD = """# A page

```python
x = 6
```

Then:

```python
print(x * 7)
print("at", __file__, "in line 11")
```
```text
42
at ...page.py in line 11
```

<!-- not run: it would never end -->
```python
while True: pass
```

```console
$ no python
```
"""


def test_blocks_share_names_and_their_output_is_compared(tmp_path: Path) -> None:
    assert check_page(GOOD, "page", tmp_path) == 2


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("42", "43", "block in line 9 shows"),
        ("at ...page.py in line 11", "at ...page.py in line 1", "block in line 9 shows"),
        ("```text\n42", "```\n42", "block in line 9 shows"),
        ("x = 6", "x = 6\nprint(x)", "block in line 3 shows"),
        ("x = 6", "x = y", "line 4"),
        ("not run: it would never end", "not run:", "say why"),
        ("x = 6", ">>> x = 6", "write plain code"),
        ("$ no python\n```\n", "$ no python\n", "does not end"),
    ],
)
def test_untrue_pages_fail(right: str, wrong: str, said: str, tmp_path: Path) -> None:
    assert right in GOOD
    with pytest.raises(AssertionError, match=said):
        check_page(GOOD.replace(right, wrong, 1), "page", tmp_path)
