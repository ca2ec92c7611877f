"""Writes the configuration by which Prometheus scrapes the gateway.

It holds no secret: it names the files that Prometheus reads them from, which the user makes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..transport.urls import parse
from .rules import yaml_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..settings.loader import Settings
    from ..transport.urls import Address

_FOLDER = "/etc/prometheus"


def scrape_config(gateways: Sequence[Settings], *, scrape_job: str = "pushgateway") -> str:
    """The ``scrape_configs`` of the gateways in these settings, which must name one each.

    They are one job, whose ``job_name`` is ``scrape_job``. With several, the label ``gateway``
    tells apart what each holds: without, groups of one name would take turns with each scrape.
    Raises ValueError for a name that Prometheus would refuse, and for different users.
    """
    if not scrape_job or not scrape_job.isprintable():
        raise ValueError(f"{scrape_job!r} is no name; give text on one line")
    if len({_username(settings) for settings in gateways}) > 1:
        raise ValueError("the gateways have different users; print the configuration of each alone")
    lines = [
        f"- job_name: {yaml_text(scrape_job)}",
        "  # Else the labels job and instance of every group would become exported_job and",
        "  # exported_instance, and all jobs would be called like this scrape.",
        "  honor_labels: true",
        *(f"  {line}" for line in _way(gateways[0])),
        "  static_configs:",
        *(f"    {line}" for line in _targets(gateways)),
    ]
    return "scrape_configs:\n" + "".join(f"  {line}\n" for line in lines)


def _way(settings: Settings) -> Iterator[str]:
    address = parse(settings.gateway or "")
    if address.scheme != "http":
        yield f"scheme: {address.scheme}"
    if _metrics_path(address) != "/metrics":
        yield f"metrics_path: {yaml_text(_metrics_path(address))}"
    username = _username(settings)
    if settings.token is not None:
        yield "authorization:"
        yield f"  credentials_file: {_FOLDER}/pushgateway-token  # put the token there"
    elif username is not None:
        yield "basic_auth:"
        yield f"  username: {yaml_text(username)}"
        yield f"  password_file: {_FOLDER}/pushgateway-password  # put the password there"
    yield from _tls(settings)
    if settings.headers:
        names = ", ".join(name for name, _ in settings.headers)
        yield f"# Pushes carry further headers, which Prometheus sends from 2.55 on: {names}"
        yield "# http_headers: {NAME: {files: [FILE]}}"


def _targets(gateways: Sequence[Settings]) -> Iterator[str]:
    addresses = [parse(settings.gateway or "") for settings in gateways]
    for address in addresses:
        host = f"[{address.host}]" if ":" in address.host else address.host
        target = yaml_text(f"{host}:{address.port}")
        yield f"- targets: [{target}]"
        if len(addresses) > 1:
            yield "  labels:"
            yield f"    gateway: {target}"
            if address.scheme != addresses[0].scheme:
                yield f"    __scheme__: {address.scheme}"
            if _metrics_path(address) != _metrics_path(addresses[0]):
                yield f"    __metrics_path__: {yaml_text(_metrics_path(address))}"


def _metrics_path(address: Address) -> str:
    return f"{address.target.rstrip('/')}/metrics"


def _username(settings: Settings) -> str | None:
    credentials = parse(settings.gateway or "").credentials
    return credentials[0] if credentials else settings.username


def _tls(settings: Settings) -> Iterator[str]:
    files = {"ca": settings.cafile, "cert": settings.certfile}
    if settings.certfile is not None:
        files["key"] = settings.keyfile or settings.certfile
    given = {kind: path for kind, path in files.items() if path is not None}
    if not given and not settings.insecure_skip_verify:
        return
    yield "tls_config:"
    if given:
        yield "  # The paths on this machine; Prometheus needs the files on its own."
    for kind, path in given.items():
        yield f"  {kind}_file: {yaml_text(path)}"
    if settings.insecure_skip_verify:
        yield "  insecure_skip_verify: true"
