"""Which queue a message came from, and where tasks are routed to.

Nothing is declared or created on the way.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from celery.app.routes import MapRoute


def queue_finder(app: Any) -> Callable[[str, str], str]:
    """A function that names the queue of an exchange and a routing key, "" where it can't."""

    @lru_cache(maxsize=1000)
    def find(exchange: str, routing_key: str) -> str:
        bound = [
            queue
            for queue in app.amqp.queues.consume_from.values()
            if queue.exchange is not None and queue.exchange.name == exchange
        ]
        fitting = (
            [queue for queue in bound if queue.routing_key == routing_key]
            or [queue for queue in bound if _fits(queue.routing_key or "", routing_key)]
            or (bound if len(bound) == 1 else [])
        )
        return _name(fitting[0]) if fitting else ""

    return find


def routed_tasks(app: Any) -> dict[str, str]:
    """The app's own tasks whose queue this worker consumes from, with that queue's name.

    Tasks that are routed by a function of the user's are left out, for it might have effects.
    """
    # Not Router.route(), which creates the queue it finds; the worker would consume from it after
    # its next reconnect.
    queues = app.amqp.queues.consume_from.values()
    consumed = {each: _name(queue) for queue in queues for each in (queue.name, queue.alias)}
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
            found[name] = consumed[queue]
    return found


def _name(queue: Any) -> str:
    # The name of a kombu.common.Broadcast is another one in each process; it has an alias.
    return str(queue.alias or queue.name)


def _fits(pattern: str, routing_key: str) -> bool:
    """As a topic exchange has it: https://www.rabbitmq.com/tutorials/tutorial-five-python#topic-exchange"""
    wild = {"*": "[^.]+", "#": ".*"}
    words = (wild.get(word) or re.escape(word) for word in pattern.split("."))
    return re.fullmatch(r"\.".join(words), routing_key) is not None


def _routed(routes: Any, name: str, default: str) -> Any:
    for route in routes:
        if not isinstance(route, MapRoute):
            return None
        found = route(name)
        if found is not None:
            return found.get("queue") if found.keys() & {"queue", "exchange"} else default
    return default
