"""Long work in steps, so that an event loop can do others' work between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator

T = TypeVar("T")

SAMPLES_OF_A_STEP = 200


def finished(steps: Generator[None, None, T]) -> T:
    """Take all steps at once: what the generator returns."""
    try:
        while True:
            next(steps)
    except StopIteration as end:
        result: T = end.value
        return result
