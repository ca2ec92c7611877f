"""Which queue a message came from, and where tasks are routed to.

Nothing is declared or created on the way.
"""

from __future__ import annotations

from typing import Any

from celery.app.routes import MapRoute

_MAX_KNOWN = 1000


class Queues:
    """Names queues for one app, each kind of message looked up once."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._known: dict[tuple[object, object], str] = {}

    def of(self, delivery_info: Any) -> str:
        """The queue's name, "" where the message does not say."""
        if not isinstance(delivery_info, dict):
            return ""
        key = delivery_info.get("exchange"), delivery_info.get("routing_key")
        try:
            return self._known[key]
        except KeyError:
            pass
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        name = self._known[key] = self._find(*key)
        return name

    def _find(self, exchange: object, routing_key: object) -> str:
        if not exchange:
            # The default exchange routes to the queue of that name.
            # https://www.rabbitmq.com/tutorials/amqp-concepts#exchange-default
            return str(routing_key or "")[:120]
        bound = [
            queue
            for queue in self._app.amqp.queues.consume_from.values()
            if queue.exchange is not None and queue.exchange.name == exchange
        ]
        for queue in bound:
            if queue.routing_key == routing_key:
                return str(queue.name)
        return str(bound[0].name) if len(bound) == 1 else ""


def routed_tasks(app: Any) -> dict[str, str]:
    """The app's own tasks whose queue this worker consumes from, with that queue's name.

    Tasks that are routed by a function of the user's are left out, for it might have effects.
    """
    # Not Router.route(), which creates the queue it finds; the worker would consume from it after
    # its next reconnect.
    consumed = app.amqp.queues.consume_from
    routes = app.amqp.routes or ()
    found = {}
    for name, task in app.tasks.items():
        queue = getattr(task, "queue", None)
        if queue is None and getattr(task, "exchange", None) is not None:
            continue
        if queue is None:
            queue = _routed(routes, name, app.conf.task_default_queue)
        queue = getattr(queue, "name", queue)
        if queue in consumed:
            found[name] = str(queue)
    return found


def _routed(routes: Any, name: str, default: str) -> Any:
    for route in routes:
        if not isinstance(route, MapRoute):
            return None
        found = route(name)
        if found is not None:
            return found.get("queue") if found.keys() & {"queue", "exchange"} else default
    return default
