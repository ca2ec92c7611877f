"""What is printed for Prometheus and Grafana: its metrics exist, its text is in order.

That rules fire when they should, and queries find something, is for the tests with real servers.
"""

import json
import re

import pytest

from pushgate.jobs import vocabulary
from pushgate_celery._metric_specs import COUNTERS, GAUGES, HISTOGRAMS

VOCABULARY = {
    value
    for value in vars(vocabulary).values()
    if isinstance(value, str) and re.fullmatch(r"batch_job_\w+[a-z]", value)
}
CELERY = {
    *(f"{name}_total" for name in COUNTERS),
    *(f"{name}_bucket" for name in HISTOGRAMS),
    *GAUGES,
}
GATEWAY = {"push_time_seconds", "push_failure_time_seconds", "pushgateway_http_requests_total"}
NAME = re.compile(r"\b(?:batch_job|celery|push|pushgate|pushgateway)_\w+")


def names_in(*expressions):
    return set(NAME.findall("\n".join(expressions)))


def expressions_of(panels):
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


@pytest.fixture
def dashboard(cli):
    code, text, errors = cli("dashboard")
    assert (code, errors) == (0, [])
    return json.loads(text)


def test_rules_and_dashboard_name_only_metrics_that_are_published_and_all_of_the_vocabulary(
    cli, dashboard
):
    rules = names_in(*(line for line in cli("rules")[1].splitlines() if "{{" not in line))
    panels = names_in(*expressions_of(dashboard["panels"]))
    assert rules | panels <= VOCABULARY | CELERY | GATEWAY
    assert rules | panels >= VOCABULARY - {vocabulary.RUN_INFO}


def test_the_panels_have_places_of_their_own_and_queries(dashboard):
    panels = dashboard["panels"]
    taken = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
        if panel["type"] != "row":
            refs = [target["refId"] for target in panel["targets"]]
            assert refs
            assert len(refs) == len(set(refs))
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_every_query_asks_for_the_chosen_job_and_the_chosen_data_source(dashboard):
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == "${datasource}"
            for selector in re.findall(r"{([^}]*)}", target["expr"]):
                assert 'job=~"$job"' in selector or selector == 'handler="push"'
    assert [v["name"] for v in dashboard["templating"]["list"]] == ["datasource", "job"]


def test_tables_are_joined_by_labels_alone(dashboard):
    # A metric's name is a label to Grafana, and would keep the columns of a row apart.
    bare = re.compile(r"\w+(\{[^}]*\})?")
    tables = [panel for panel in dashboard["panels"] if panel["type"] == "table"]
    assert tables
    assert not [e for e in expressions_of(tables) if bare.fullmatch(e)]


def test_a_selector_is_in_every_selector_of_the_rules(cli):
    code, text, _ = cli("rules", "--selector", "job=backup", "--selector", 'env=~"a|b"')
    assert code == 0
    selectors = re.findall(
        r"(?<![{$]){([^{}]+)}", "".join(re.findall(r"expr: \|-\n(?: {10}.*\n)+", text))
    )
    assert len(selectors) > 30
    for selector in selectors:
        assert selector.endswith('job="backup",env=~"a|b"') or selector == 'job="pushgateway"'


def test_labels_and_names_are_the_users(cli):
    names = ("--group-name", "it's", "--scrape-job", 'a"b', "--label", "severity=page")
    code, text, _ = cli("rules", *names, "--label", "team=a=b")
    assert code == 0
    assert "- name: 'it''s-jobs'\n" in text
    assert 'absent(up{job="a\\"b"})' in text
    assert text.count("severity: 'page'\n          team: 'a=b'\n") == text.count("- alert:")


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        (["rules", "--selector", "job"], "is no matcher"),
        (["rules", "--selector", 'job=~"("'], "is no regular expression"),
        (["rules", "--label", "team"], "write it as LABEL=VALUE"),
        (["rules", "--label", "a-b=c"], "can't have the label 'a-b'"),
        (["rules", "--group-name", "a\nb"], "is no name"),
        (["scrape-config"], "no gateway is configured"),
        (["dashboard", "x"], "it takes no x"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_prints_nothing(cli, arguments, output):
    code, out, (line,) = cli(*arguments)
    assert (code, out) == (2, "")
    assert output in line


def test_the_scrape_configuration_reaches_the_gateway_and_holds_no_secret(cli, monkeypatch):
    monkeypatch.setenv("PUSHGATE_GATEWAY", "https://me:secret@gateway.example/push/gate")
    code, text, _ = cli("scrape-config", "--cafile", "/etc/ca.pem")
    assert code == 0
    assert "secret" not in text
    for line in (
        "honor_labels: true",
        "scheme: https",
        "metrics_path: '/push/gate/metrics'",
        "username: 'me'",
        "password_file: /etc/prometheus/pushgateway-password",
        "ca_file: '/etc/ca.pem'",
        "- targets: ['gateway.example:443']",
    ):
        assert line in text
