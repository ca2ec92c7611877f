"""The button "Pushgateway group" on a task's page.

Enters: the task instance that somebody looks at. Leaves: the URL of the gateway's page, at the
task's group as far as a Pushgateway allows: its page numbers the groups anew each time, so there is
no anchor to point to. A browser that knows text fragments scrolls to the group's labels, others
open the page. https://developer.mozilla.org/en-US/docs/Web/URI/Reference/Fragment/Text_fragments
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink

from pushgate import Gateway
from pushgate_airflow._configuration import configuration
from pushgate_airflow._event import Event
from pushgate_airflow._identity import grouping_key

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

__all__ = ("GroupLink",)


class GroupLink(BaseOperatorLink):
    """Leads from a task to its group on the gateway's page."""

    name = "Pushgateway group"
    operators: ClassVar[list[type[BaseOperator]]] = []  # all: it is a global link

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002
        """The URL, without credentials; empty where neither ui_url nor gateway is configured."""
        options = configuration()
        address = options.ui_url or options.gateway
        if address is None:
            return ""
        event = Event(ti_key.dag_id, ti_key.task_id, ti_key.run_id, "")
        labels = grouping_key(event, job=options.job).labels
        # As the page shows them: the job first, then by name.
        text = " ".join(f'{name}="{value}"' for name, value in labels.items())
        # A dash and a comma mean something else in a text fragment.
        fragment = quote(text, safe="").replace("-", "%2D")
        return f"{Gateway(address).url}/#:~:text={fragment}"
