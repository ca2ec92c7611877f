"""``install``: everything begins here, in every process that imports the app.

Publishers get one signal handler, beat a watched scheduler, and only a worker a pusher.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakKeyDictionary

from celery import signals
from celery.utils.nodenames import default_nodename

from pushgate import (
    Gateway,
    InlineRelay,
    RateLimitedLogger,
    Relay,
    Settings,
    SettingsError,
)
from pushgate_celery import _beat, _stamp
from pushgate_celery._celery_options import (
    Options,
    gateway_of,
    given_options,
    options_in_configuration,
)
from pushgate_celery._worker import Worker

_AGGREGATOR = "pushgate_celery._worker_aggregator:create"
_NO_GATEWAY = (
    "this worker's tasks are not reported: no gateway is configured: give install() a gateway, or"
    " set pushgate_gateway in the app's configuration, or PUSHGATE_GATEWAY"
)
_NEEDS_SETTINGS = (
    "gateway: the pusher is another process, so give it a URL or Settings; a Gateway is for"
    " transport='inline'"
)
_SPAWN = (
    "the pool's children are spawned, and don't inherit the pipe to the pusher; set"
    " worker_pool_start_method = 'fork', or use another pool"
)
_INLINE_PREFORK = (
    "with transport 'inline' every child of the prefork pool would push on its own; use 'pipe', or"
    " the solo or threads pool"
)

_installations: WeakKeyDictionary[Any, Installation] = WeakKeyDictionary()


def install(
    app: Any,
    gateway: str | Settings | Gateway | None = None,
    *,
    job: str | None = None,
    transport: str | None = None,
    interval: float | str | None = None,
    task_interval: float | str | None = None,
    max_series: int | None = None,
    on_exit: str | None = None,
    shutdown_timeout: float | str | None = None,
    linger: float | str | None = None,
    tasks: Iterable[str] | None = None,
    stamp_headers: bool | None = None,
) -> Installation:
    """Observe the tasks of a Celery app. Call it where the app is made.

    Each option may also stand in the app's configuration, as ``pushgate_<option>``; an argument
    goes first. Durations are seconds, or text such as ``"90s"``.

    - ``gateway``: a URL or Settings; else the environment's (PUSHGATE_GATEWAY, …) or the
      configuration file's. A Gateway only with transport ``"inline"``.
    - ``job``: the grouping label, ``"celery"`` by default.
    - ``transport``: ``"pipe"``, to a pusher process beside each worker; or ``"inline"``, which
      pushes from the process that runs the task, at once, and observes eager tasks too: for tests.
    - ``interval``: the least time between two pushes of the worker's totals, 15 s.
    - ``task_interval``: the same for a task's group, 60 s; longer where the gateway takes long. The
      first outcome, one unlike the last, and periodic tasks do not wait for it.
    - ``max_series``: how many label sets one worker may have, 2000; the rest is ``other``.
    - ``on_exit``: whether to ``"keep"`` or ``"delete"`` the worker's own group after a clean exit.
    - ``shutdown_timeout``: how long a worker that ends waits for the last push, 3 s.
    - ``linger``: how long the pusher goes on trying by itself after that, 10 s.
    - ``tasks``: patterns of the names of tasks to observe, such as ``["shop.*"]``; all by default.
    - ``stamp_headers``: whether messages of this process have a header ``pushgate`` with the time
      of publication, for the wait in the queue. True by default.

    Calling it again with the same options returns the same Installation. Raises SettingsError (a
    ValueError) for an option that can't be used, or for other options than the first time's.
    """
    # A proxy, such as celery.current_app, stands for another app tomorrow.
    app = getattr(app, "_get_current_object", lambda: app)()
    if not hasattr(app, "conf"):
        raise TypeError(f"install() observes a Celery app, not a {type(app).__name__}")
    given = given_options(
        {
            "gateway": gateway,
            "job": job,
            "transport": transport,
            "interval": interval,
            "task_interval": task_interval,
            "max_series": max_series,
            "on_exit": on_exit,
            "shutdown_timeout": shutdown_timeout,
            "linger": linger,
            "tasks": tasks,
            "stamp_headers": stamp_headers,
        }
    )
    if isinstance(given.get("gateway"), Gateway) and given.get("transport") != "inline":
        raise SettingsError(_NEEDS_SETTINGS)
    before = _installations.get(app)
    if before is not None:
        if before.given != given:
            changed = sorted(
                name
                for name in {*before.given, *given}
                if before.given.get(name) != given.get(name)
            )
            raise SettingsError(
                f"{', '.join(changed)}: this app is observed already, with other options; call"
                " install() once, or uninstall() before"
            )
        return before
    installation = Installation(app, given)
    _installations[app] = installation
    return installation


class Installation:
    """An app that is observed, from :func:`install`. ``given`` are the options that were given."""

    def __init__(self, app: Any, given: dict[str, Any]) -> None:
        self.given = given
        self._app = app
        self._log = RateLimitedLogger()
        self._worker: Worker | None = None
        self._undo: list[Callable[[], None]] = []
        self._stamps: bool | None = given.get("stamp_headers")
        self._connections = [
            (signals.before_task_publish, self._publishing),
            (signals.worker_init, self._worker_begins),
            (signals.celeryd_after_setup, self._logging_is_set_up),
            (signals.beat_init, self._beat_begins),
        ]
        if given.get("stamp_headers") is False:
            del self._connections[0]
        for signal, handler in self._connections:
            signal.connect(handler, weak=False)
        if given.get("transport") == "inline":
            try:
                self._observe(default_nodename(None))
            except BaseException:
                self.uninstall()
                raise

    def uninstall(self) -> None:
        """Undo everything. A running worker pushes a last time."""
        if _installations.get(self._app) is self:
            del _installations[self._app]
        for signal, handler in self._connections:
            signal.disconnect(handler)
        while self._undo:
            self._undo.pop()()
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.stop()

    def _publishing(
        self, sender: Any = None, headers: Any = None, body: Any = None, **_: object
    ) -> None:
        try:
            if self._stamps is None:
                self._stamps = bool(self._app.conf.get("pushgate_stamp_headers", True))
            if self._stamps:
                _stamp.write(headers, body, time.time(), _beat.due(sender))
        except Exception as error:
            self._log.info(f"a message could not be stamped: {error}", subject="stamp")

    def _beat_begins(self, sender: Any, **_: object) -> None:
        if sender.app is self._app:
            self._undo.append(_beat.watch(sender.scheduler))

    def _worker_begins(self, sender: Any, **_: object) -> None:
        """worker_init, whose sender is the WorkController. Logging is set up only after it."""
        if sender.app is not self._app:
            return
        from celery.apps.worker import Worker as Program

        self._log = RateLimitedLogger(held=isinstance(sender, Program))
        try:
            if self._worker is not None and self._worker.is_over:
                self._worker.stop()  # of a worker that this process ran before
                self._worker = None
            if self._worker is None:
                self._observe(sender.hostname, sender)
            elif self.given.get("transport") == "inline" and _is_prefork(sender):
                self._worker.stop()
                raise SettingsError(_INLINE_PREFORK)
        except Exception as error:
            self._log.error(f"this worker's tasks are not reported: {error}")

    def _logging_is_set_up(self, **_: object) -> None:
        self._log.release()

    def _observe(self, node: str, controller: Any = None) -> None:
        """Start the relay, and connect the handlers of tasks. Raises SettingsError or OSError."""
        conf = options_in_configuration(self._app)
        merged = {**conf, **self.given}
        merged.pop("gateway", None)
        options = Options(**merged)
        gateway = gateway_of(self.given, conf, os.environ)
        if gateway is None:
            self._log.error(_NO_GATEWAY)
            return
        for_aggregator = {
            "job": options.job,
            "node": node,
            "started_at": time.time(),
            "max_series": options.max_series,
            "on_exit": options.on_exit,
        }
        relay: Relay | InlineRelay
        if options.transport == "inline":
            if _is_prefork(controller):
                raise SettingsError(_INLINE_PREFORK)
            if isinstance(gateway, Settings):
                gateway = gateway.to_gateway()
            relay = InlineRelay(_AGGREGATOR, gateway=gateway, options=for_aggregator)
        else:
            if isinstance(gateway, Gateway):
                raise SettingsError(_NEEDS_SETTINGS)
            if _is_prefork(controller) and _spawns(controller):
                raise SettingsError(_SPAWN)
            relay = Relay(
                _AGGREGATOR,
                settings=gateway,
                options=for_aggregator,
                interval=options.interval,
                slow_interval=max(options.interval, options.task_interval),
                linger=options.linger,
            )
            relay.start()
        self._worker = Worker(self._app, options, relay, self._log, controller)
        self._worker.connect()


def _is_prefork(controller: Any) -> bool:
    # Not get_implementation(): it imports the pool, before the user's own handlers of this signal
    # may have patched what it uses.
    pool: Any = getattr(controller, "pool_cls", None)
    name = pool if isinstance(pool, str) else getattr(pool, "__module__", "")
    return name in ("prefork", "processes") or "concurrency.prefork" in name


def _spawns(controller: Any) -> bool:
    import billiard

    # Celery 5.7 has the setting; on macOS billiard 4.3 spawns by default.
    method = getattr(controller, "pool_start_method", None)
    return method == "spawn" or billiard.get_start_method() != "fork"
