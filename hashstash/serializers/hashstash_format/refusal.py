"""Why a value cannot be stored, and how the path to its offending part is spelt."""

from __future__ import annotations

from hashstash.errors import SerializationError

ATTRIBUTE = "."
"""A step to an object's attributes, which the next one names."""


class Refusal(Exception):  # noqa: N818 - never leaves the package
    """A part of a value cannot be stored; steps are added on the way back to the root."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.steps: list[str] = []

    def error(self) -> SerializationError:
        """Return the error that the caller sees."""
        path = spell(reversed(self.steps))
        return SerializationError(f"{path} cannot be stored: {self.reason}", path)


def spell(steps: object) -> str:
    """Return ``value`` with ``steps`` after it, attributes as attributes."""
    path = "value"
    after_attribute = False
    for step in steps:  # type: ignore[attr-defined]
        if after_attribute and step.startswith("['") and step[2:-2].isidentifier():
            path += f".{step[2:-2]}"
        elif step == ATTRIBUTE:
            after_attribute = True
            continue
        else:
            path += step
        after_attribute = False
    return path
