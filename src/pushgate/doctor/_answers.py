"""What the gateway answers: who we are to it, what it is, its clock, a scrape and a push."""

from __future__ import annotations

import json
import time
from shlex import quote
from typing import TYPE_CHECKING

from ..errors import (
    DeliveryError,
    GatewayRejectedError,
    PushError,
    explain,
    failed_inside,
)
from ..gateway.features import LOSES_PROTOBUF
from ..protocol.families import gauge
from ..protocol.grouping_key import GroupingKey
from ._check import FAIL, OK, WARN, Check

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ..gateway.client import Gateway
    from ..protocol.groups import Group
    from ..settings.loader import Settings

__all__ = ("check_clock", "check_push", "check_ready", "check_scrape", "check_status")

JOB = "pushgate_doctor"
_SKEW = 5.0  # seconds
_LONGEST_REASON = 300  # characters
_SEE = "see the gateway's log, and what is in front of it"
_SINCE = {"gzip": (1, 5), "snappy": (1, 6)}  # https://github.com/prometheus/pushgateway/releases


def check_status(gateway: Gateway, settings: Settings) -> Iterator[Check]:
    """Whether it answers us, as what, and what it takes."""
    try:
        version, flags = gateway.status()
    except GatewayRejectedError as error:
        yield Check(FAIL, "access", *_refused(error, settings))
        return
    except DeliveryError as error:
        # TLS 1.3: the server tells only after the handshake that it wants our certificate.
        asked = "CERTIFICATE" in str(error) and settings.certfile is None
        advice = "give the client certificate that it asks for by --certfile" if asked else _SEE
        yield Check(FAIL, "access", str(error), advice)
        return
    except PushError as error:
        yield Check(FAIL, "access", str(error), "give the address of a Pushgateway")
        return
    yield Check(OK, "access", f"it answers {_as_whom(settings)}")
    yield from check_version(version, flags, settings.compression)


def check_version(
    version: str, flags: Mapping[str, str], compression: str | None
) -> Iterator[Check]:
    """What this version takes, with these flags. Pure."""
    number = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    takes = [name for name, since in _SINCE.items() if number >= since]
    formats = ["text", "protobuf"] if number[:2] != LOSES_PROTOBUF else ["text"]
    utf8 = flags.get("push.enable-utf8-names") == "true"
    yield Check(
        OK,
        "version",
        f"Pushgateway {version}, takes {', '.join([*formats, *takes])};"
        f" UTF-8 names {'on' if utf8 else 'off'}",
    )
    if "protobuf" not in formats:
        yield Check(
            WARN,
            "version",
            "of a push in protobuf, as Go programs send it, it keeps the first metric alone",
            "bring the gateway up to date",
        )
    if compression is not None and compression not in takes:
        since = ".".join(map(str, _SINCE[compression]))
        yield Check(
            FAIL,
            "version",
            f"pushes are compressed with {compression}, which it takes from version {since} on",
            "set compression to none, or bring the gateway up to date",
        )
    if flags.get("push.disable-consistency-check") == "true":
        yield Check(
            WARN,
            "version",
            "its consistency check is off: it says yes to pushes that break every scrape",
            "run it without --push.disable-consistency-check",
        )
    if flags.get("persistence.file") == "":
        yield Check(
            WARN,
            "version",
            "it keeps nothing on disk: a restart forgets every job's last success",
            "run it with --persistence.file",
        )


def check_ready(gateway: Gateway) -> Check:
    """Whether it says that it is ready."""
    if gateway.ready():
        return Check(OK, "ready", "it is")
    return Check(WARN, "ready", "/-/ready does not say so", "see the gateway's log")


def check_clock(gateway: Gateway) -> tuple[float, Check]:
    """Its clock minus ours in seconds, too, to half a second."""
    try:
        offset = gateway.clock_offset()
    except DeliveryError as error:
        return 0.0, Check(WARN, "clock", str(error), "see what is in front of the gateway")
    if abs(offset) <= _SKEW:
        return offset, Check(OK, "clock", "it agrees with this host's to within seconds")
    direction = "ahead of" if offset > 0 else "behind"
    return offset, Check(
        WARN,
        "clock",
        f"the gateway's is {abs(offset):.0f} s {direction} this host's",
        "synchronise both, as by NTP: ages and alerts are wrong by that much",
    )


def check_scrape(gateway: Gateway, groups: Sequence[Group]) -> Check:
    """Whether Prometheus gets an answer, and which of ``groups`` may be the reason if not."""
    began = time.monotonic()
    try:
        text = gateway.scrape()
    except GatewayRejectedError as error:
        if not failed_inside(error):
            return Check(WARN, "scrape", str(error), "if Prometheus scrapes elsewhere, all is well")
        return Check(
            FAIL,
            "scrape",
            f"Prometheus gets nothing but an error: {str(error)[:_LONGEST_REASON]}…",
            _remedy([group.labels for group in groups if _is_poison(group.labels)]),
        )
    except PushError as error:
        return Check(FAIL, "scrape", str(error), "see the gateway's log")
    took = (time.monotonic() - began) * 1000
    return Check(OK, "scrape", f"{len(text) / 1024:.0f} KiB in {took:.0f} ms")


def check_push(gateway: Gateway) -> Check:
    """Whether a group can be pushed and deleted."""
    key = GroupingKey(JOB)
    try:
        gateway.push(key, gauge("pushgate_doctor_push", "Pushed by pushgate doctor.", 1))
        gateway.delete(key)
    except PushError as error:
        return Check(FAIL, "push", str(error), _SEE)
    return Check(OK, "push", f"{key} was pushed and deleted")


def _is_poison(labels: Mapping[str, str]) -> bool:
    """Whether a group of these labels is known to fail scrapes."""
    broken = any("\ufffd" in value for value in labels.values())
    return broken or labels.get("instance") == "" or any(n.startswith("__") for n in labels)


def _remedy(suspects: Sequence[Mapping[str, str]]) -> str:
    if not suspects:
        return "delete the group that it names: pushgate delete"
    labels = suspects[0]
    if labels.get("instance") == "":  # a matcher would find the group without that label, too
        options = [f"--job {quote(labels['job'])}"] + [
            f"--group {quote(f'{name}={value}')}" for name, value in labels.items() if name != "job"
        ]
    else:
        pairs = ",".join(
            f"{name}={json.dumps(v, ensure_ascii=False)}" for name, v in labels.items()
        )
        options = [f"--match {quote(f'{{{pairs}}}')}"]
    more = f" and {len(suspects) - 1} more like it" if len(suspects) > 1 else ""
    return f"pushgate delete {' '.join(options)}{more}"


def _refused(error: GatewayRejectedError, settings: Settings) -> tuple[str, str]:
    meaning, advice = explain(error, has_credentials=_has_credentials(settings))
    return f"{meaning}: {error}" if meaning else str(error), advice


def _has_credentials(settings: Settings) -> bool:
    names = [name.lower() for name, _ in settings.headers]
    in_url = settings.gateway != settings.url
    return bool(settings.username or settings.token or in_url or "authorization" in names)


def _as_whom(settings: Settings) -> str:
    if settings.username:
        return f"the user {settings.username!r}"
    if settings.certfile:
        return "our client certificate"
    return "our credentials" if _has_credentials(settings) else "without credentials"
