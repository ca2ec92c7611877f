"""How a task's run ended, from what Celery's signal says and what was raised. Pure."""

from __future__ import annotations

import re

from celery.exceptions import Ignore, Reject, Retry, WorkerShutdown, WorkerTerminate

from pushgate_celery._task_records import CUT, END

_STATES = {
    "SUCCESS": "success",
    "FAILURE": "failure",
    "RETRY": "retry",
    "IGNORED": "ignored",
    "REJECTED": "rejected",
}
_NO_IDENTIFIER = re.compile(r"\W")


def class_name(error: object) -> str:
    """The name of an exception's class. It may come from a message, hence capped and cleaned."""
    return _NO_IDENTIFIER.sub("_", type(error).__name__)[:80]


def other_end(
    state: str | None, retval: object, raised: BaseException | None, *, in_child: bool
) -> tuple[str, str, str, tuple[bool, ...]]:
    """The record's kind, the End's state and exception, and the rest of the record.

    For all but plain successes. ``raised`` is the exception that left Celery's tracer.
    """
    ended, cause = _STATES.get(state or "", "failure"), _cause(state, retval)
    if isinstance(raised, Reject):  # of on_success or after_return
        return END, "rejected", _cause("REJECTED", raised), ()
    if isinstance(raised, Exception):
        if state is None:  # what the code raised could not be stored
            ended, cause = _code_end(raised)
        return CUT, ended, cause, (False,)
    if raised is None or state is not None:
        return END, ended, cause, ()
    if in_child or not isinstance(raised, (SystemExit, KeyboardInterrupt)):
        return CUT, ended, class_name(raised), (True,)
    if isinstance(raised, (WorkerShutdown, WorkerTerminate)):
        return END, "", "", ()  # it is handed back, and will run again
    return END, ended, class_name(raised), ()  # in a thread or greenlet no other signal comes


def _code_end(raised: BaseException) -> tuple[str, str]:
    """How the task's code ended, where Celery failed to store that and raised ``raised``."""
    first = raised
    while first.__context__ is not None:
        first = first.__context__
        for kind, state in ((Retry, "RETRY"), (Reject, "REJECTED"), (Ignore, "IGNORED")):
            if isinstance(first, kind):
                return _STATES[state], _cause(state, first)
    return "failure", class_name(first)


def _cause(state: str | None, retval: object) -> str:
    if state == "FAILURE":
        return class_name(retval)
    if isinstance(retval, Retry) and retval.exc is not None:
        return class_name(retval.exc)
    if isinstance(retval, Reject) and isinstance(retval.reason, BaseException):
        return class_name(retval.reason)
    return ""
