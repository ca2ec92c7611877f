"""What is printed for Prometheus and Grafana: its metrics exist, its text is in order.

That rules fire when they should, and queries find something, is for the tests with real servers.
"""

import json
import re
from pathlib import Path

import pytest

from pushgate.jobs import vocabulary
from pushgate_celery._metric_specs import COUNTERS, GAUGES, HISTOGRAMS

VOCABULARY = {
    value
    for value in vars(vocabulary).values()
    if isinstance(value, str) and re.fullmatch(r"batch_job_\w+[a-z]", value)
}
CELERY = {
    *(f"{spec.name}_total" for spec in COUNTERS),
    *(f"{spec.name}_bucket" for spec in HISTOGRAMS),
    *(spec.name for spec in GAUGES),
}
GATEWAY = {
    *("push_time_seconds", "push_failure_time_seconds", "pushgateway_http_requests_total"),
    *(f"pushgateway_http_push_duration_seconds_{part}" for part in ("sum", "count")),
}
NAME = re.compile(r"\b(?:batch_job|celery|push|pushgate|pushgateway)_\w+")


def names_in(*expressions):
    return set(NAME.findall("\n".join(expressions)))


def with_closed(panels):
    """All panels, those in rows that are closed included."""
    for panel in panels:
        yield panel
        yield from panel.get("panels", ())


def expressions_of(panels):
    return [t["expr"] for panel in with_closed(panels) for t in panel.get("targets", ())]


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
    assert rules | panels >= VOCABULARY


def test_the_panels_have_places_of_their_own_and_say_what_they_show(dashboard):
    panels = dashboard["panels"]
    closed = [row["panels"] for row in panels if row.get("panels")]
    assert len(closed) == 4, "what not every user has costs no query"
    for group in (panels, *closed):
        taken = set()
        for panel in group:
            at = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(at["x"], at["x"] + at["w"])
                for y in range(at["y"], at["y"] + at["h"])
            }
            assert not cells & taken, panel["title"]
            assert at["x"] + at["w"] <= 24
            taken |= cells
    everything = list(with_closed(panels))
    assert len({panel["id"] for panel in everything}) == len(everything)
    for panel in everything:
        if panel["type"] != "row":
            assert panel["description"].endswith("."), panel["title"]
            refs = [target["refId"] for target in panel["targets"]]
            assert refs
            assert len(refs) == len(set(refs))
            for target in panel["targets"]:
                assert target.get("instant") or target["legendFormat"] != "__auto", panel["title"]


def test_every_query_asks_for_the_chosen_job_and_the_chosen_data_source(cli):
    dashboard = json.loads(cli("dashboard", "--scrape-job", "gates")[1])
    for panel in with_closed(dashboard["panels"]):
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == "${datasource}"
            for selector in re.findall(r"{([^}]*)}", target["expr"]):
                of_the_gateway = selector in ('handler="push"', 'job="gates"')
                assert 'job=~"$job"' in selector or of_the_gateway
    names = ["datasource", "job", "dag_id", "task_id", "task", "instance"]
    assert [v["name"] for v in dashboard["templating"]["list"]] == names


def test_the_dashboard_is_one_to_grafanas_own_models(dashboard):
    models = pytest.importorskip("grafana_foundation_sdk.models.dashboard")
    plugins = pytest.importorskip("grafana_foundation_sdk.cog.plugins")
    plugins.register_default_plugins()
    read = models.Dashboard.from_json(dashboard)
    for panel, model in zip(dashboard["panels"], read.panels, strict=True):
        assert (panel["type"], panel["title"]) == (model.type_val, model.title)
        assert len(panel.get("panels", ())) == len(getattr(model, "panels", ()))
        for target, query in zip(
            panel.get("targets", ()), getattr(model, "targets", ()), strict=True
        ):
            assert target["expr"] == query.expr


def test_tables_are_joined_by_labels_alone(dashboard):
    # A metric's name is a label to Grafana, and would keep the columns of a row apart.
    bare = re.compile(r"\w+(\{[^}]*\})?")
    tables = [panel for panel in dashboard["panels"] if panel["type"] == "table"]
    assert len(tables) == 2
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
    added = (
        """severity: '{{ or $labels.severity "page" }}'\n"""
        """          team: '{{ or $labels.team "a=b" }}'\n"""
    )
    assert text.count(added) == text.count("- alert:")
    assert "team: '{{ $value }}'\n" in cli("rules", "--label", "team={{ $value }}")[1]


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        (
            ["rules", "--without", "BatchJobFail"],
            "--without: there is no alert 'BatchJobFail'; did",
        ),
        (["rules", "--set", "BatchJobFailed"], "write it as NAME.for=TIME or"),
        (["rules", "--set", "BatchJobFailed.for=10"], "--set BatchJobFailed.for: '10' is no dur"),
        (["rules", "--set", "BatchJobFailed.threshold=1"], "there is no such option; did you mean"),
        (["rules", "--set", "GroupStale.threshold=x"], "'x' is no threshold; write a number"),
        (["rules", "--format", "prometheusrule", "--group-name", "A"], "can't be called 'A'"),
        (["rules", "--selector", "job"], "is no matcher"),
        (["rules", "--selector", 'job=~"("'], "is no regular expression"),
        (["rules", "--label", "team"], "write it as LABEL=VALUE"),
        (["rules", "--label", "a-b=c"], "can't have the label 'a-b'"),
        (["rules", "--group-name", "a\nb"], "is no name"),
        (["scrape-config"], "no gateway is configured"),
        (["dashboard", "x"], "too many arguments: x"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_prints_nothing(cli, arguments, output):
    code, out, (line,) = cli(*arguments)
    assert (code, out) == (2, "")
    assert output in line


def test_the_configuration_file_holds_the_same_and_the_command_line_goes_before(cli, tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(
        """gateway = "http://gateway.example:9091"
        [rules]
        without = ["CeleryQueueSlow"]
        runbook_url = "https://wiki.example"
        BatchJobFailed.for = "10m"
        GroupStale.threshold = "14d"
        """
    )
    code, text, _ = cli("rules", "--config", str(file), "--set", "BatchJobFailed.for=1h")
    assert code == 0
    assert "CeleryQueueSlow" not in text
    assert "  for: 1h\n" in text
    assert "> 1209600\n" in text
    assert "runbook_url: 'https://wiki.example#groupstale'\n" in text
    assert cli("scrape-config", "--config", str(file))[0] == 0, "it is no setting of a gateway"
    file.write_text("rules = 3")
    (line,) = cli("rules", "--config", str(file))[2]
    assert "config.toml: rules is no table; write [rules]" in line


def test_the_operators_resource_holds_the_same_rules(cli):
    rules = cli("rules", "--group-name", "batch")[1].partition("groups:\n")[2]
    head, _, resource = cli("rules", "--group-name", "batch", "--format", "prometheusrule")[
        1
    ].partition("  groups:\n")
    assert "kind: PrometheusRule\nmetadata:\n  name: 'batch'\nspec:\n" in head
    assert "".join(line.removeprefix("  ") for line in resource.splitlines(True)) == rules


def test_every_alert_has_its_part_in_the_runbook_and_no_page_names_another(cli):
    names = re.findall("- alert: (.*)", cli("rules")[1])
    docs = Path(__file__).parents[1] / "docs"
    for path in docs.rglob("*.md"):
        assert set(re.findall(r"\bBatchJob\w+", path.read_text())) <= set(names), path
    page = (docs / "runbook.md").read_text()
    assert re.findall("^## (.*)", page, re.MULTILINE) == names
    parts = re.split("^## .*", page, flags=re.MULTILINE)[1:]
    assert len({name.lower() for name in names}) == len(parts)
    for part in parts:
        assert all(f"**{word}.**" in part for word in ("Means", "Look", "Do"))


INHIBITED = (  # an alert that is not sent beside the other
    ({"alertname": "BatchJobFailed"}, {"alertname": "BatchJobFailed", "task_id": "t"}),
    ({"alertname": "BatchJobNeverSucceeded"}, {"alertname": "BatchJobFailed", "task_id": "t"}),
    ({"alertname": "BatchJobStuckRunning"}, {"alertname": "BatchJobEndsMissing", "task_id": "t"}),
    ({"alertname": "BatchJobMissed", "task_id": "t"}, {"alertname": "BatchJobMissed"}),
)


def test_of_a_task_and_its_dag_one_alert_is_sent(cli):
    rules = re.findall(
        r"source_matchers: \[(.*)]\n *target_matchers: \[(.*)]\n *equal: \[(.*)]",
        cli("rules", "--alertmanager")[1],
    )

    def fits(matchers, alert):
        values = (
            (alert.get(name, ""), operator, text)
            for name, operator, text in re.findall(r'(\w+)(!=|=~|=)"(.*?)"', matchers)
        )
        return all(
            re.fullmatch(text, value) is not None if op == "=~" else (value == text) == (op == "=")
            for value, op, text in values
        )

    def is_inhibited(target, source):
        return any(
            fits(of_source, source)
            and fits(of_target, target)
            and all(target.get(name) == source.get(name) for name in equal.split(", "))
            for of_source, of_target, equal in rules
        )

    shop = {"job": "airflow", "dag_id": "shop"}
    for one, other in INHIBITED:
        assert is_inhibited(shop | one, shop | other)
        assert not is_inhibited(shop | other, shop | one), "one of the two is sent"
        assert not is_inhibited(shop | one, shop | other | {"dag_id": "other"})
    for alert in shop | INHIBITED[0][0], {"job": "backup", "alertname": "BatchJobFailed"}:
        assert not is_inhibited(alert, alert)


def test_the_scrape_configuration_reaches_the_gateway_and_holds_no_secret(cli, monkeypatch):
    monkeypatch.setenv("PUSHGATE_GATEWAY", "https://me:secret@gateway.example/push/gate")
    code, text, _ = cli("scrape-config", "--cafile", "/etc/ca.pem")
    assert code == 0
    assert "secret" not in text
    assert "gateway:" not in text
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


def test_several_gateways_are_told_apart(cli):
    urls = ("http://a.example:9091", "https://b.example/push")
    code, text, _ = cli("scrape-config", *(word for url in urls for word in ("--gateway", url)))
    assert code == 0
    assert text.endswith(
        """    static_configs:
      - targets: ['a.example:9091']
        labels:
          gateway: 'a.example:9091'
      - targets: ['b.example:443']
        labels:
          gateway: 'b.example:443'
          __scheme__: https
          __metrics_path__: '/push/metrics'
"""
    )
    code, _, (line,) = cli("scrape-config", "--gateway", urls[0], "--gateway", "http://me:@b")
    assert code == 2
    assert "different users" in line
