"""A pytest plugin: a running gateway, and assertions on what was pushed to it.

Installing pushgate registers it; a test asks for the fixture ``pushgateway``::

    def test_backup_reports(pushgateway):
        run_backup(gateway=pushgateway.url)
        pushgateway.assert_pushed("rows_loaded", 42, job="backup")
"""

from __future__ import annotations

import os
from math import isnan
from typing import TYPE_CHECKING

import pytest

from .server import EmbeddedGateway

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..protocol.groups import Group
__all__ = ("PushgatewayFixture", "pushgateway")


class PushgatewayFixture:
    """A gateway for this test alone. Push to its ``url``."""

    def __init__(self, gateway: EmbeddedGateway) -> None:
        self._gateway = gateway
        self.url: str = gateway.url

    def groups(self, **labels: object) -> list[Group]:
        """The groups whose grouping key has these labels, ``job`` included; all by default."""
        from ..gateway.client import Gateway  # not in every run of pytest

        found = Gateway(self.url).groups()
        return [group for group in found if _as_text(labels).items() <= group.labels.items()]

    def value(self, metric: str, /, **labels: object) -> float | None:
        """The value of the only sample with this name and these labels, or None.

        ``metric`` is the sample's full name. Labels may be the grouping key's or the sample's.
        Raises AssertionError where several samples match.
        """
        found = self._values(metric, labels)
        assert len(found) < 2, (  # noqa: S101 - an assertion is what this is for
            f"{len(found)} samples of {metric} have {labels}; give more labels\n{self._shown()}"
        )
        return found[0] if found else None

    def assert_pushed(self, metric: str, value: float | None = None, /, **labels: object) -> None:
        """Assert that there is a sample with this name, these labels and, if given, ``value``."""
        found = self._values(metric, labels)
        assert found, f"no sample of {metric} has {labels}\n{self._shown()}"  # noqa: S101
        if value is not None:
            same = [v for v in found if v == value or (isnan(v) and isnan(value))]
            assert same, (  # noqa: S101
                f"{metric} with {labels} is {found}, not {value}\n{self._shown()}"
            )

    def assert_not_pushed(self, metric: str, /, **labels: object) -> None:
        """Assert that no sample has this name and these labels."""
        found = self._values(metric, labels)
        assert not found, f"{metric} with {labels} is {found}\n{self._shown()}"  # noqa: S101

    def clear(self) -> None:
        """Delete every group."""
        self._gateway.wipe()

    def _values(self, metric: str, labels: dict[str, object]) -> list[float]:
        wanted = _as_text(labels)
        return [
            sample.value
            for group in self.groups()
            for family in group.families
            for sample in family.samples
            if sample.name == metric and wanted.items() <= {**sample.labels, **group.labels}.items()
        ]

    def _shown(self) -> str:
        lines = ["the gateway holds:"]
        for group in self.groups():
            lines.append(f"  {group.labels}")
            for family in group.families:
                lines += [f"    {s.name} {s.labels} {s.value}" for s in family.samples]
        return "\n".join(lines) if len(lines) > 1 else "the gateway holds nothing"


def _as_text(labels: dict[str, object]) -> dict[str, str]:
    """As a grouping key has them: ``shard=3`` is pushed as ``"3"``."""
    return {name: str(value) for name, value in labels.items()}


@pytest.fixture
def pushgateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[PushgatewayFixture]:
    """A gateway in memory for one test, on a free port of 127.0.0.1. No proxy is used for it."""
    exempt = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, f"{exempt},127.0.0.1" if exempt else "127.0.0.1")

    with EmbeddedGateway() as gateway:
        yield PushgatewayFixture(gateway)
