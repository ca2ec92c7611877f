"""How a push failed, in one line: why, and whether what was not delivered waits in the outbox.

An exception enters, and what the outbox has to say; a line for a person leaves.
"""

from __future__ import annotations

from pushgate import DeliveryError, PushError

__all__ = ("WAITS", "Remarks", "failure", "was_kept")

WAITS = "it waits in the outbox and will be delivered later"


class Remarks:
    """What the outbox says, until it is known whether a push failed. Called with each line.

    What was said before the push counts only if that fails: a run without a home directory, say,
    loses nothing as long as all goes well.
    """

    def __init__(self) -> None:
        self._before: list[str] = []
        self._lines: list[str] = []

    def __call__(self, line: str) -> None:
        self._lines.append(line)

    def begin(self) -> None:
        """The push begins that matters."""
        self._before, self._lines = self._before + self._lines, []

    def take(self, *, failed: bool) -> list[str]:
        """What is to be told, once."""
        lines = [*self._before, *self._lines] if failed else self._lines
        self._lines = []
        if failed:
            self._before = []
        return lines


def failure(what: str, error: Exception, remarks: Remarks) -> str:
    """The line that says that ``what`` failed by ``error``."""
    text = str(error) if isinstance(error, (PushError, OSError)) else repr(error)
    if isinstance(error, DeliveryError) and error.url not in text:
        text = f"{error.method} {error.url}: {text}"
    parts = [f"{what} failed: {text}", *remarks.take(failed=True)]
    if was_kept(error):
        parts.append(WAITS)
    return "; ".join(" ".join(part.split()) for part in parts)


def was_kept(error: Exception) -> bool:
    """Whether what this kept from arriving waits in the outbox: a DeliveryError, or what a
    caller's own handler has raised."""
    return bool(getattr(error, "kept", False))
