"""What the labels of a DAG's run may be made of: the DAG and its run.

Airflow fills the context of a DAG's callback from some task of the run, each time another one, and
that of a deadline alert from the run alone. A label that came from a task would split the DAG's
runs into groups, of which one stays failed for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Context

_OF_THE_RUN = ("dag", "dag_run", "run_id", "reason", "deadline", "macros", "var", "conn")


class NeedsTaskError(KeyError):
    """A label of a DAG's run needs what only a task has."""

    def __str__(self) -> str:
        return str(self.args[0])


class RunContext(dict[str, Any]):
    """The part of a context that is the same whichever task Airflow made it from."""

    def __missing__(self, name: str) -> Any:
        raise NeedsTaskError(
            f"a DAG's run has no {name!r}, for it would be that of some task; use dag, dag_run or"
            " params, or a notifier of its own for the DAG"
        )

    def check(self, template: str, environment: Any) -> None:
        """Raises NeedsTaskError for a template that needs more than is here."""
        from jinja2 import meta

        for name in sorted(meta.find_undeclared_variables(environment.parse(template))):
            if name not in environment.globals:
                self[name]


def run_context(context: Context) -> Any:
    """The context without what came from a task. Params are the DAG's and the run's conf."""
    found = RunContext({name: context[name] for name in _OF_THE_RUN if name in context})  # type: ignore[literal-required]
    dag, run = context.get("dag"), context.get("dag_run")
    conf = run.get("conf") if isinstance(run, Mapping) else getattr(run, "conf", None)
    if dag is not None:
        params = dag.params.dump() if hasattr(dag.params, "dump") else dict(dag.params)
        found["params"] = {**params, **(conf or {})}
    return found
