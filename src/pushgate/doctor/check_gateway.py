"""Checks the gateway's answers: access, version, clock, a scrape and a push."""

from __future__ import annotations

import time
from shlex import quote
from typing import TYPE_CHECKING

from ..errors import DeliveryError, GatewayRejectedError, PushError, explain, failed_inside
from ..gateway.features import LOSES_PROTOBUF
from ..protocol.families import gauge
from ..protocol.grouping_key import GroupingKey
from ..protocol.names import selector
from .finding import Finding, fail, ok, warn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ..gateway.client import Gateway
    from ..protocol.groups import Group
    from ..settings.loader import Settings

_JOB = "pushgate_doctor"
_SKEW = 5.0  # seconds
_LONGEST_REASON = 300  # characters
_SEE = "see the gateway's log, and what is in front of it"
_SINCE = {"gzip": (1, 5), "snappy": (1, 6)}  # https://github.com/prometheus/pushgateway/releases


def check_status(gateway: Gateway, settings: Settings) -> Iterator[Finding]:
    """Whether it lets us in, its version and what that version takes."""
    try:
        version, flags = gateway.status()
    except GatewayRejectedError as error:
        meaning, advice = explain(error, has_credentials=_has_credentials(settings))
        yield fail("access", f"{meaning}: {error}" if meaning else str(error), advice)
        return
    except DeliveryError as error:
        # In TLS 1.3 the server asks for our certificate only after the handshake.
        asks = "CERTIFICATE" in str(error) and settings.certfile is None
        advice = "give the client certificate that it asks for by --certfile" if asks else _SEE
        yield fail("access", str(error), advice)
        return
    except PushError as error:
        yield fail("access", str(error), "give the address of a Pushgateway")
        return
    yield ok("access", f"it answers {_name_of_user(settings)}")
    yield from check_version(version, flags, settings.compression)


def check_version(
    version: str, flags: Mapping[str, str], compression: str | None
) -> Iterator[Finding]:
    """What this version takes, with these flags. Pure."""
    number = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    takes = [name for name, since in _SINCE.items() if number >= since]
    formats = ["text", "protobuf"] if number[:2] != LOSES_PROTOBUF else ["text"]
    utf8 = "on" if flags.get("push.enable-utf8-names") == "true" else "off"
    yield ok(
        "version",
        f"Pushgateway {version}, takes {', '.join([*formats, *takes])}; UTF-8 names {utf8}",
    )
    if "protobuf" not in formats:
        yield warn(
            "version",
            "of a push in protobuf, as Go programs send it, it keeps the first metric only",
            "update the gateway",
        )
    if compression is not None and compression not in takes:
        since = ".".join(map(str, _SINCE[compression]))
        yield fail(
            "version",
            f"pushes are compressed with {compression}, which it takes from version {since} on",
            "set compression to none, or update the gateway",
        )
    if flags.get("push.disable-consistency-check") == "true":
        yield warn(
            "version",
            "its consistency check is off: it accepts pushes that break every scrape",
            "run it without --push.disable-consistency-check",
        )
    if flags.get("persistence.file") == "":
        yield warn(
            "version",
            "it keeps nothing on disk: a restart forgets every job's last success",
            "run it with --persistence.file",
        )


def check_ready(gateway: Gateway) -> Finding:
    """Whether it says that it is ready."""
    if gateway.ready():
        return ok("ready", "it says so")
    return warn("ready", "/-/ready does not say so", "see the gateway's log")


def check_clock(gateway: Gateway) -> tuple[float, Finding]:
    """The gateway's clock minus ours in seconds, to half a second, and the finding."""
    try:
        offset = gateway.clock_offset()
    except DeliveryError as error:
        return 0.0, warn("clock", str(error), "see what is in front of the gateway")
    if abs(offset) <= _SKEW:
        return offset, ok("clock", f"at most {_SKEW:g} s from this host's")
    direction = "ahead of" if offset > 0 else "behind"
    return offset, warn(
        "clock",
        f"the gateway's is {abs(offset):.0f} s {direction} this host's",
        "synchronise both, for example by NTP: ages and alerts are wrong by that much",
    )


def check_scrape(gateway: Gateway, groups: Sequence[Group]) -> tuple[str, Finding]:
    """What a scrape gets, and the finding: whether it works, and which of ``groups`` break it."""
    began = time.monotonic()
    try:
        text = gateway.scrape()
    except GatewayRejectedError as error:
        if not failed_inside(error):
            return "", warn("scrape", str(error), "if Prometheus scrapes elsewhere, all is well")
        return "", fail(
            "scrape",
            f"Prometheus gets nothing but an error: {str(error)[:_LONGEST_REASON]}…",
            _remedy([group.labels for group in groups if _breaks_scrapes(group.labels)]),
        )
    except PushError as error:
        return "", fail("scrape", str(error), "see the gateway's log")
    took = (time.monotonic() - began) * 1000
    finding = ok("scrape", f"{len(text) / 1024:.0f} KiB in {took:.0f} ms")
    return text.decode(errors="replace"), finding


def check_push(gateway: Gateway) -> Finding:
    """Whether a group can be pushed and deleted."""
    key = GroupingKey(_JOB)
    try:
        gateway.push(key, gauge("pushgate_doctor_push", "Pushed by pushgate doctor.", 1))
        gateway.delete(key)
    except PushError as error:
        return fail("push", str(error), _SEE)
    return ok("push", f"{key} was pushed and deleted")


def _breaks_scrapes(labels: Mapping[str, str]) -> bool:
    """Whether a group with these labels is known to break scrapes."""
    broken = any("\ufffd" in value for value in labels.values())
    return broken or labels.get("instance") == "" or any(n.startswith("__") for n in labels)


def _remedy(suspects: Sequence[Mapping[str, str]]) -> str:
    if not suspects:
        return "delete the group that the error names: pushgate delete"
    labels = suspects[0]
    if labels.get("instance") == "":  # a matcher would also match the group without that label
        options = [f"--job {quote(labels['job'])}"] + [
            f"--group {quote(f'{name}={value}')}" for name, value in labels.items() if name != "job"
        ]
    else:
        options = [f"{quote(selector(labels))} --yes"]
    more = f" and {len(suspects) - 1} more like it" if len(suspects) > 1 else ""
    return f"pushgate delete {' '.join(options)}{more}"


def _has_credentials(settings: Settings) -> bool:
    names = [name.lower() for name, _ in settings.headers]
    in_url = settings.gateway != settings.url
    return bool(settings.username or settings.token or in_url or "authorization" in names)


def _name_of_user(settings: Settings) -> str:
    if settings.username:
        return f"the user {settings.username!r}"
    if settings.certfile:
        return "our client certificate"
    return "our credentials" if _has_credentials(settings) else "without credentials"
