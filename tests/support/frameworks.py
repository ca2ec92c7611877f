"""Frameworks that are too heavy for the other tests' environment: .ci/framework has their own."""

from importlib.util import find_spec

HEAVY = ("dagster", "prefect")


def is_missing(name: str) -> bool:
    """Whether this is such a framework's name, and it is not installed here."""
    return name in HEAVY and find_spec(name) is None
