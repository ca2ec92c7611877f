"""The HTTP API of a Pushgateway, without sockets: one request in, one response out.

The routes, statuses and texts are those of Pushgateway 1.11.2, observed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from ..protocol.parse import ParseError, parse_text
from . import model, paths, render, request_body
from .consistency import RejectedError
from .group_store import GroupStore
from .model import HeldFamily, HeldMetric

VERSION = "1.11.2"  # of the Pushgateway that this imitates
_BUILD = {"branch": "pushgate-embedded", "revision": "", "version": VERSION}
_TEXT = "text/plain; charset=utf-8"
_EXPOSITION = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
_INCONSISTENT = "pushed metrics are invalid or inconsistent with existing metrics: "
_PUSH_METHODS = ("DELETE", "POST", "PUT")


class GatewayResponse(NamedTuple):
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = MappingProxyType({})


class PushgatewayAPI:
    """Answers requests. ``clock`` gives Unix seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._started = clock()
        self._own = [
            HeldFamily(
                "pushgateway_build_info",
                model.GAUGE,
                "A metric with a constant '1' value labeled by the version that is imitated.",
                [HeldMetric({name: text for name, text in _BUILD.items() if text}, 1.0)],
            )
        ]
        self.store = GroupStore(self._own)
        # The method that each fixed path takes, and the function that answers.
        self._routes: dict[str, tuple[str, Callable[[], GatewayResponse]]] = {
            "/metrics": ("GET", self._metrics),
            "/-/ready": ("GET", lambda: _text(200, "OK")),
            "/-/healthy": ("GET", lambda: _text(200, "OK")),
            "/api/v1/metrics": ("GET", self._api_metrics),
            "/api/v1/status": ("GET", self._api_status),
            "/api/v1/admin/wipe": ("PUT", self._wipe),
        }

    def answer(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> GatewayResponse:
        """Answer one request.

        ``target`` is the request line's, not decoded, one character a byte. The names of
        ``headers`` are in lower case.
        """
        path = paths.decode(target)
        if path is None:
            return _text(400, "400 Bad Request")
        if (location := paths.redirect(path)) is not None:
            _, mark, query = target.partition("?")
            return GatewayResponse(301, headers={"Location": location + mark + query})
        try:
            text = request_body.decompress(body, headers)
            if path not in self._routes:
                return self._answer_group(method, path, headers, text)
            allowed, act = self._routes[path]
            return act() if method == allowed else _other_method(method, allowed)
        except (request_body.BodyError, paths.PathError, ParseError) as error:
            return _text(getattr(error, "status", 400), str(error))
        except RejectedError as error:
            return _text(400, _INCONSISTENT + str(error))

    def _answer_group(
        self, method: str, path: str, headers: Mapping[str, str], text: bytes
    ) -> GatewayResponse:
        if path == "/metrics/job/" and method in _PUSH_METHODS:
            return GatewayResponse(307, headers={"Location": "/metrics/job"})
        if not paths.is_group(path):
            return _text(404, "404 page not found")
        if method not in _PUSH_METHODS:
            return _other_method(method, *_PUSH_METHODS)
        labels = paths.grouping_labels(path)
        if method == "DELETE":
            self.store.delete(labels)
            return GatewayResponse(202)
        request_body.refuse_protobuf(headers)
        families = model.held_families(parse_text(text))
        self.store.push(labels, families, self.clock(), replace=method == "PUT")
        return GatewayResponse(200)

    def _metrics(self) -> GatewayResponse:
        text = render.to_text(self._own, self.store.groups())
        body = text.encode("utf-8", "surrogateescape")
        return GatewayResponse(200, body, {"Content-Type": _EXPOSITION})

    def _api_metrics(self) -> GatewayResponse:
        return _json(render.to_json(self.store.groups()))

    def _api_status(self) -> GatewayResponse:
        started = render.rfc3339(self._started)
        return _json({"build_information": _BUILD, "flags": {}, "start_time": started})

    def _wipe(self) -> GatewayResponse:
        self.store.wipe()
        return GatewayResponse(202)


def _other_method(method: str, *allowed: str) -> GatewayResponse:
    headers = {"Allow": ", ".join(sorted({"OPTIONS", *allowed}))}
    if method == "OPTIONS":
        return GatewayResponse(200, headers=headers)
    return _text(405, "Method Not Allowed", headers)


def _text(status: int, text: str, headers: Mapping[str, str] | None = None) -> GatewayResponse:
    body = text.encode("utf-8", "backslashreplace")
    body += b"\n" if status >= 400 else b""
    return GatewayResponse(status, body, {"Content-Type": _TEXT, **(headers or {})})


def _json(data: Any) -> GatewayResponse:
    text = json.dumps({"status": "success", "data": data}, ensure_ascii=False)
    return GatewayResponse(200, text.encode(), {"Content-Type": "application/json"})
