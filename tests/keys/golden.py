"""Print the hash of every frozen expression, as JSON, or freeze those that are new.

``python tests/keys/golden.py stdlib`` prints one group; ``--add`` adds to ``golden_keys.json``
what is not in it and never changes what is.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[1] / "golden_keys.json"

MODULES = {
    "stdlib": (
        "array collections datetime decimal enum fractions functools ipaddress math operator "
        "pathlib random re types typing uuid zoneinfo key_samples"
    ),
    "numpy": "numpy",
    "pandas": "pandas numpy",
    "polars": "polars datetime",
    "pyarrow": "pyarrow",
}
ALIASES = {"key_samples": "s", "datetime": "dt", "numpy": "np", "pandas": "pd", "polars": "pl"}
ALIASES["pyarrow"] = "pa"


def namespace(group: str) -> dict[str, Any]:
    """Return the names that a group's expressions use; ImportError if a package is missing."""
    return {ALIASES.get(name, name): import_module(name) for name in MODULES[group].split()}


def hashes(group: str, expressions: list[str]) -> dict[str, str]:
    """Return each expression's hash."""
    from hashstash.keys import stable_hash

    names = namespace(group)
    return {text: stable_hash(eval(text, names)) for text in expressions}


def frozen() -> dict[str, dict[str, str]]:
    """Return the frozen hashes by group and expression."""
    found: dict[str, dict[str, str]] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def add() -> None:
    """Freeze what is in ``golden_expressions`` and not frozen yet."""
    from golden_expressions import EXPRESSIONS

    found = frozen() if FILE.exists() else {}
    for group, expressions in EXPRESSIONS.items():
        known = found.setdefault(group, {})
        known.update(hashes(group, [text for text in expressions if text not in known]))
    FILE.write_text(json.dumps(found, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1] == "--add":
        add()
    else:
        print(json.dumps(hashes(sys.argv[1], list(frozen()[sys.argv[1]]))))
