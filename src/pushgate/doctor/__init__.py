"""What is wrong between this host and its Pushgateway, or with what that holds.

Enters: settings. Leaves: :class:`Check` values, one after the other as they are made, each with an
advice where it is not ok. Nothing is written to the gateway, unless asked for.
"""

from __future__ import annotations

from ._check import Check
from ._examine import examine

__all__ = ("Check", "examine")
