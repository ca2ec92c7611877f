"""Writes the configuration by which Prometheus scrapes the gateway.

It holds no secret: it names the files that Prometheus reads them from, which the user makes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..transport.urls import parse
from .rules import yaml_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..settings.loader import Settings

__all__ = ("scrape_config",)

_FOLDER = "/etc/prometheus"


def scrape_config(settings: Settings, *, scrape_job: str = "pushgateway") -> str:
    """The ``scrape_configs`` of the gateway in ``settings``, which must name one.

    ``scrape_job`` is the ``job_name``. Raises ValueError for a name that Prometheus would refuse.
    """
    if not scrape_job or not scrape_job.isprintable():
        raise ValueError(f"{scrape_job!r} is no name; give text on one line")
    assert settings.gateway is not None  # noqa: S101 - for type checkers
    lines = [
        f"- job_name: {yaml_text(scrape_job)}",
        "  # Else the labels job and instance of every group would become exported_job and",
        "  # exported_instance, and all jobs would be called like this scrape.",
        "  honor_labels: true",
        *(f"  {line}" for line in _way(settings)),
    ]
    return "scrape_configs:\n" + "".join(f"  {line}\n" for line in lines)


def _way(settings: Settings) -> Iterator[str]:
    address = parse(settings.gateway or "")
    if address.scheme != "http":
        yield f"scheme: {address.scheme}"
    prefix = address.target.rstrip("/")
    if prefix:
        yield f"metrics_path: {yaml_text(f'{prefix}/metrics')}"
    username = address.credentials[0] if address.credentials else settings.username
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
    host = f"[{address.host}]" if ":" in address.host else address.host
    yield "static_configs:"
    yield f"  - targets: [{yaml_text(f'{host}:{address.port}')}]"


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
