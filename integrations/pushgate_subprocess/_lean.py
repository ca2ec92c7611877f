"""`signal` without its import time: the C half that the standard module wraps in enums.

Nothing enters. `signal` leaves: the same functions and numbers, as plain ints. Importing the
standard module builds enums first, 5 ms on a machine where bare Python starts in 11 ms, and all
of it would be spent before the child starts.
"""

from __future__ import annotations

__all__ = ["TYPE_CHECKING", "signal"]

TYPE_CHECKING = False  # type checkers take it for typing's, which costs 10 ms to import

if TYPE_CHECKING:
    import signal
else:
    import _signal as signal
