"""What an alert is, and the texts that several alerts share. Pure data."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..jobs.vocabulary import RUN_INFO, RUN_INFO_LABELS

if TYPE_CHECKING:
    from collections.abc import Callable

    from .series_selector import Series

# All labels of the group, such as: backup; airflow dag_id=shop task_id=charge.
JOB = (
    "{{ $labels.job }}"
    '{{ range $name, $value := $labels }}{{ if ne $name "job" }} {{ $name }}={{ $value }}'
    "{{ end }}{{ end }}"
)
AGO = "{{ $value | humanizeDuration }}"
PERCENT = "{{ $value | humanizePercentage }}"

# Where to look, from the info metric of the same group. A group with more labels matches the
# selector, too, so its own labels are compared. No join in the alert's expression: see ADR 0020.
# A line may end before each " {{-", which trims that space.
LAST_RUN = (
    ' {{- $group := "" }}{{ range $name, $value := $labels }}'
    ' {{- if match "^[0-9A-Za-z_]+$" $name }}'
    '{{ $group = printf "%s%s=%q," $group $name $value }}{{ end }}{{ end }}'
    f' {{{{- range query (printf "{RUN_INFO}{{%s}}" $group) }}}}'
    "{{ $same := true }}{{ range $name, $value := .Labels }}"
    f' {{{{- if not (match "^(__name__|{"|".join(RUN_INFO_LABELS)})$" $name) }}}}'
    " {{- if ne $value (index $labels $name) }}{{ $same = false }}{{ end }}{{ end }}{{ end }}"
    " {{- if $same }}{{ with .Labels.exception }} Reason: {{ . }}.{{ end }}"
    " {{- with .Labels.host }} Host: {{ . }}.{{ end }}"
    " {{- with .Labels.run_id }} Run: {{ . }}.{{ end }}"
    " {{- with .Labels.url }} Log: {{ . }}{{ end }}{{ end }}{{ end }}"
)


class Alert(NamedTuple):
    """One alert.

    ``expression`` is called with the series and the threshold, which is None for an alert without.
    ``hold`` is the rule's ``for``. It is empty where the expression itself waits long enough, or
    where the fact can't be undone. ``reason`` is for a comment, on one line or several.
    """

    name: str
    expression: Callable[[Series, float], str]
    severity: str
    summary: str
    description: str
    reason: str
    hold: str = ""
    threshold: float | None = None
