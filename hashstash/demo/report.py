"""What the demo prints, for a terminal of 100 columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .library import is_test, module_name
from .passes import Pass, Result

WIDTH = 100
TOP = 8
LARGE = 400  # lines from which on the share of docstrings says something

Results = dict[str, Result]


def size(number: float) -> str:
    """Return a number of bytes as a person reads it.

    >>> size(999), size(3_400_000)
    ('999 bytes', '3.4 MB')
    """
    if number < 1000:
        return f"{number:.0f} bytes"
    for unit in ("kB", "MB", "GB"):
        number /= 1000
        if number < 1000:
            return f"{number:.1f} {unit}"
    return f"{number / 1000:.1f} TB"


def duration(seconds: float) -> str:
    """Return a time as a person reads it.

    >>> duration(12.345), duration(0.0123)
    ('12.3 s', '12 ms')
    """
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows as aligned columns: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    widths[0] = min(widths[0], WIDTH - sum(widths[1:]) - 2 * len(widths))

    def line(cells: Sequence[str]) -> str:
        first, *rest = cells
        first = first if len(first) <= widths[0] else f"...{first[3 - widths[0] :]}"
        return "  ".join(
            [first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(rest, widths[1:], strict=True))]
        ).rstrip()

    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join(f"  {text}" for text in [line(header), rule, *map(line, rows)])


def _parsed(results: Results) -> Results:
    """Return what could be parsed and is no test, which would crowd out all else."""
    return {path: r for path, r in results.items() if "error" not in r and not is_test(path)}


def hardest_modules(results: Results) -> str:
    """Return the table of the modules with the most branches, tests aside."""
    ranked = sorted(_parsed(results).items(), key=lambda item: -item[1]["complexity"])
    rows = [
        [
            module_name(path),
            f"{r['lines']:,}",
            f"{r['functions']:,}",
            f"{r['names']:,}",
            f"{len(r['imports']):,}",
            f"{r['complexity']:,}",
            f"{r['deepest']['depth'] if r['deepest'] else 0}",
            _share(r["documented"], r["documentable"]),
        ]
        for path, r in ranked[:TOP]
    ]
    header = ["hardest modules", "lines", "functions", "names"]
    return table([*header, "imports", "complexity", "nesting", "docstrings"], rows)


def findings(results: Results) -> list[tuple[str, str]]:
    """Return what is remarkable, as pairs of a label and a sentence."""
    parsed = _parsed(results)
    total, functions, classes = (
        sum(r.get(measure, 0) for r in results.values())
        for measure in ("lines", "functions", "classes")
    )
    found = [("All modules", f"{total:,} lines, {functions:,} functions, {classes:,} classes")]
    tests = sum(map(is_test, results))
    if tests:
        found.append(("Tests", f"{tests:,} of the modules, not ranked here"))
    for label, measure, say in (
        ("Hardest function", "complexity", "complexity {:,}"),
        ("Longest function", "lines", "{:,} lines"),
        ("Deepest nesting", "depth", "{} blocks in one another"),
    ):
        best = _best_function(parsed, measure)
        if best:
            path, scope = best
            place = f"{scope['name']} in {module_name(path)}, line {scope['line']:,}"
            found.append((label, f"{place}: {say.format(scope[measure])}"))
    imported = Counter(name for r in parsed.values() for name in r["imports"])
    if imported:
        top = ", ".join(f"{name} ({count:,})" for name, count in imported.most_common(5))
        found.append(("Most imported", f"{top} modules"))
    found += _docstrings(parsed)
    broken = [path for path, r in results.items() if "error" in r]
    if broken:
        example = module_name(broken[0])
        found.append(("Not Python now", f"{len(broken)} files, such as {example}"))
    return found


def _best_function(parsed: Results, measure: str) -> tuple[str, dict[str, Any]] | None:
    key = {"complexity": "hardest", "lines": "longest", "depth": "deepest"}[measure]
    tops = [(path, r[key]) for path, r in parsed.items() if r[key]]
    return max(tops, key=lambda item: item[1][measure], default=None)


def _docstrings(parsed: Results) -> Iterable[tuple[str, str]]:
    documented = sum(r["documented"] for r in parsed.values())
    documentable = sum(r["documentable"] for r in parsed.values())
    if documentable:
        share = _share(documented, documentable)
        yield "Docstrings", f"{share} of {documentable:,} public definitions have one"
    large = [
        (r["documented"] / r["documentable"], r["lines"], path)
        for path, r in parsed.items()
        if r["lines"] >= LARGE and r["documentable"]
    ]
    choices: tuple[tuple[str, Callable[..., tuple[float, int, str]]], ...] = (
        ("Best explained", max),
        ("Least explained", min),
    )
    for label, choose in choices:
        if large:
            share_, lines, path = choose(large)
            yield label, f"{module_name(path)}: {share_:.0%} of what is public, {lines:,} lines"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "-"


def labelled(pairs: Iterable[tuple[str, str]]) -> str:
    """Return labels and sentences as two columns, cut at the width."""
    lines = [f"  {label:<17} {text}" for label, text in pairs]
    return "\n".join(line if len(line) <= WIDTH else f"{line[: WIDTH - 3]}..." for line in lines)


def passes(first: Pass, second: Pass) -> str:
    """Return the times of both passes, and how they compare."""
    rows = [
        [name, f"{done.computed:,}", f"{done.read:,}", duration(done.seconds)]
        for name, done in (("first pass", first), ("second pass", second))
    ]
    return f"{table(['', 'computed', 'read', 'took'], rows)}\n\n  {_comparison(first, second)}"


def _comparison(first: Pass, second: Pass) -> str:
    if first.computed == len(first.results):
        return f"The second pass was {first.seconds / second.seconds:,.0f} times faster."
    spared = sum(result["seconds"] for result in first.results.values())
    return (
        f"An earlier run had stashed {first.read:,} of {len(first.results):,} results, "
        f"which took {duration(spared)} to compute."
    )
