"""Finds what is wrong between this host and its Pushgateway, or with the groups that it holds.

It writes nothing to the gateway, unless asked to.
"""

from __future__ import annotations

from .examine import examine
from .finding import Finding

__all__ = ("Finding", "examine")
