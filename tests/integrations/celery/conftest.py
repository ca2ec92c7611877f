"""Fixtures: a redis of the session with a database for each test, and workers on it."""

from __future__ import annotations

import itertools
from contextlib import ExitStack
from pathlib import Path

import pytest

from support import brokers
from support.celery_site import Site, Totals
from support.workers import DOES_NOT_END

_databases = itertools.count()


def pytest_collection_modifyitems(items):
    """Try a test again whose worker hung in its shutdown, and for no other reason.

    About once in a hundred warm shutdowns a prefork worker whose children were recycled or killed
    writes "Warm shutdown" and goes on for ever. Twice seen in CI, never on a quiet machine. The
    failure that is left, if it happens twice, has the stacks of all of the worker's threads.
    """
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.flaky(reruns=1, only_rerun=[DOES_NOT_END]))


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
