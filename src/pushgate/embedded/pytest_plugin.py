"""A pytest plugin: a running gateway, and assertions on what was pushed to it.

It registers itself when pushgate is installed; a test asks for the ``pushgateway`` fixture::

    def test_backup_reports(pushgateway):
        run_backup(gateway=pushgateway.url)
        pushgateway.assert_pushed("rows_loaded", 42, job="backup")

Enters: pushes over HTTP. Leaves: the groups they made, or an AssertionError that shows them.
"""

from __future__ import annotations

import os
from math import isnan
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..protocol.groups import Group
    from . import EmbeddedGateway

__all__ = ("PushgatewayFixture", "pushgateway")


class PushgatewayFixture:
    """A gateway of this test's own. ``url`` is where to push."""

    def __init__(self, gateway: EmbeddedGateway) -> None:
        self._gateway = gateway
        self.url: str = gateway.url

    def groups(self, **labels: str) -> list[Group]:
        """The groups whose grouping key holds these labels, ``job`` among them; all by default."""
        from ..gateway.client import Gateway

        found = Gateway(self.url).groups()
        return [group for group in found if labels.items() <= group.labels.items()]

    def value(self, metric: str, /, **labels: str) -> float | None:
        """The value of the one sample of this name that has these labels, or None.

        ``metric`` is the sample's full name. Labels may be the grouping key's or the sample's.
        Raises AssertionError where several samples fit.
        """
        found = self._values(metric, labels)
        assert len(found) < 2, (  # noqa: S101 - an assertion is what this is for
            f"{len(found)} samples of {metric} have {labels}; give more labels\n{self._shown()}"
        )
        return found[0] if found else None

    def assert_pushed(self, metric: str, value: float | None = None, /, **labels: str) -> None:
        """Assert that a sample of this name with these labels is there, with ``value`` if given."""
        found = self._values(metric, labels)
        assert found, f"no sample of {metric} has {labels}\n{self._shown()}"  # noqa: S101
        if value is not None:
            same = [v for v in found if v == value or (isnan(v) and isnan(value))]
            assert same, (  # noqa: S101
                f"{metric} with {labels} is {found}, not {value}\n{self._shown()}"
            )

    def assert_not_pushed(self, metric: str, /, **labels: str) -> None:
        """Assert that no sample of this name has these labels."""
        found = self._values(metric, labels)
        assert not found, f"{metric} with {labels} is {found}\n{self._shown()}"  # noqa: S101

    def clear(self) -> None:
        """Forget everything pushed so far."""
        self._gateway.wipe()

    def _values(self, metric: str, labels: dict[str, str]) -> list[float]:
        return [
            sample.value
            for group in self.groups()
            for family in group.families
            for sample in family.samples
            if sample.name == metric and labels.items() <= {**sample.labels, **group.labels}.items()
        ]

    def _shown(self) -> str:
        lines = ["the gateway holds:"]
        for group in self.groups():
            lines.append(f"  {group.labels}")
            for family in group.families:
                lines += [f"    {s.name} {s.labels} {s.value}" for s in family.samples]
        return "\n".join(lines) if len(lines) > 1 else "the gateway holds nothing"


@pytest.fixture
def pushgateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[PushgatewayFixture]:
    """A gateway in memory, on a free port of 127.0.0.1, for one test; no proxy leads to it."""
    from . import EmbeddedGateway

    exempt = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, f"{exempt},127.0.0.1" if exempt else "127.0.0.1")

    with EmbeddedGateway() as gateway:
        yield PushgatewayFixture(gateway)
