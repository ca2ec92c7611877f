"""The advice for an option that does not exist. Imports nothing: ``run`` needs it."""

from __future__ import annotations

from ..settings.option_table import did_you_mean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_HIDE = "; arguments can be read by every user of this host: set {} to it, or to file:/path"
_ADVICE = {
    "--password": _HIDE.format("PUSHGATE_PASSWORD"),
    "--token": _HIDE.format("PUSHGATE_TOKEN"),
}


def what_is_wrong_with(option: str, options: Iterable[str]) -> str:
    """The text of the error on ``option``, which is none of ``options``."""
    advice = _ADVICE.get(option) or did_you_mean(option, [*options, *_ADVICE])
    for secret, hint in _ADVICE.items():
        if repr(secret) in advice:  # --port is near to --password, too
            advice = hint if option.startswith(secret[:5]) else ""
    return f"there is no option {option}{advice}"
