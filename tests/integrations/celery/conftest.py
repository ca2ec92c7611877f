"""Fixtures: a redis of the session with a database for each test, and workers on it."""

from __future__ import annotations

import itertools
from contextlib import ExitStack

import pytest

from support import brokers
from support.celery_site import Site, Totals

_databases = itertools.count()


@pytest.fixture(scope="session")
def redis_url():
    with brokers.redis() as url:
        yield url


@pytest.fixture(scope="session")
def open_site(redis_url):
    """Makes a Site in a folder; its processes live until the given stack is closed."""

    def open_site(folder, stack, broker=None):
        return Site(folder, f"{redis_url}/{next(_databases)}", stack, broker)

    return open_site


@pytest.fixture
def site(tmp_path, open_site):
    with ExitStack() as stack:
        yield open_site(tmp_path, stack)


@pytest.fixture(scope="session")
def totals_of():
    return lambda gateway, **options: Totals(getattr(gateway, "url", gateway), **options)
