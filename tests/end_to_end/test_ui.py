"""The page of all jobs in a real browser, with the history of a real Prometheus."""

import time

import pytest

from pushgate import Gateway, GroupingKey, JobRun, Outcome, Status, end_families
from support import debian
from support.browser import browser
from support.servers import pushgateway, ui
from support.ui_site import HOUR, MINUTE, SiteJob, past

pytestmark = pytest.mark.end_to_end
SHOWN = (
    "[...document.querySelectorAll('.job:not([hidden]) bdi:first-child')].map(e => e.textContent)"
)


@pytest.fixture
def tab(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("browser")) as tab:
        yield tab


@pytest.fixture
def server():
    with pushgateway(debian.require("pushgateway-1.11")) as server:
        yield server


def report(server, name, status=Status.SUCCESS):
    key, now = GroupingKey(name), time.time()
    ended = end_families(JobRun(key, now - 60), Outcome(status, now - 50, 10.0))
    Gateway(server.url).pushadd(key, ended)


def test_a_file_is_filtered_by_the_keyboard_and_follows_the_readers_colours(
    tab, server, tmp_path, cli
):
    long = "x" * 200
    for name in ("backup", "import", "<b>mail</b>", long):
        report(server, name, Status.FAILURE if name == "import" else Status.SUCCESS)
    cli("status", "--gateway", server.url, "--html", str(tmp_path / "jobs.html"))
    colours = set()
    for scheme in ("dark", "light"):
        tab.show_as(scheme, 390, 800)
        tab.open((tmp_path / "jobs.html").as_uri())
        colours.add(tab.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(colours) == 2
    assert tab.evaluate("document.documentElement.scrollWidth") == 390
    assert tab.evaluate(SHOWN) == ["import", "<b>mail</b>", "backup", long]

    tab.type("/mail")
    assert tab.evaluate(SHOWN) == ["<b>mail</b>"]
    assert tab.evaluate("document.getElementById('shown').textContent") == "1 of 4"
    tab.type(" failed")
    assert tab.evaluate(SHOWN) == []
    assert tab.problems == []


def test_a_screen_reader_finds_a_table_also_on_a_phone(tab, server, tmp_path, cli):
    report(server, "import", Status.FAILURE)
    cli("status", "--gateway", server.url, "--html", str(tmp_path / "jobs.html"))
    tab.show_as("light", 390, 800)
    tab.open((tmp_path / "jobs.html").as_uri())
    nodes = tab.send("Accessibility.getFullAXTree")["nodes"]
    found = {
        (n["role"]["value"], n.get("name", {}).get("value")) for n in nodes if not n["ignored"]
    }
    assert {("searchbox", "Filter"), ("columnheader", "Last ok")} <= found
    assert ("rowheader", "import never succeeded") in {
        (role, " ".join((name or "").split())) for role, name in found
    }


def test_ui_loads_itself_anew_and_says_when_it_is_gone(tab, server):
    report(server, "first")
    with ui("--gateway", server.url) as port:
        tab.open(f"http://127.0.0.1:{port}")
        tab.evaluate("document.getElementById('filter').focus()")
        tab.type("s")
        assert tab.evaluate(SHOWN) == ["first"]
        report(server, "second", Status.FAILURE)
        tab.until(f"{SHOWN}.includes('second')", passing=10)
        assert tab.evaluate("document.activeElement.id + document.activeElement.value") == "filters"
        assert tab.evaluate("document.title").startswith("(1)")
        server.kill()
        tab.until("document.getElementById('error').textContent.includes('refused')", passing=10)
        assert tab.evaluate(SHOWN) == ["second", "first"]
    tab.until("document.getElementById('lost').textContent.includes('does not answer')", passing=10)
    assert [text for text in tab.problems if "net::" not in text] == []


def test_ui_shows_the_last_thirty_runs_by_a_prometheus(tab, server, tmp_path):
    jobs = (
        SiteJob(GroupingKey("often"), MINUTE, 20.0, 2.0, failed=(0, 1, 4)),
        SiteJob(
            GroupingKey("sometimes", {"instance": "a", "zone": ""}),
            10 * MINUTE,
            30.0,
            20.0,
            failed=(29, 30),
        ),
        SiteJob(GroupingKey("seldom"), HOUR, 30.0, 200.0),
    )
    now = time.time()
    for job in jobs:
        job.push(Gateway(server.url), now)
    report(server, "new")
    with (
        past(tmp_path, jobs, now) as prometheus,
        ui("--gateway", server.url, "--prometheus", f"127.0.0.1:{prometheus.port}") as port,
    ):
        tab.open(f"http://127.0.0.1:{port}")
        tab.until("document.querySelector('svg') !== null", passing=10)  # of a busy Prometheus
        drawn = tab.evaluate(
            "Object.fromEntries([...document.querySelectorAll('.job')].map(e => "
            "[e.querySelector('bdi').textContent, e.querySelector('svg')?.ariaLabel ?? null]))"
        )
        (failing,) = tab.evaluate(
            "[...document.querySelectorAll('.run small')].map(e => e.textContent)"
        )
        assert failing.startswith("2 in a row, since ")
    assert {name: text and text.partition(",")[0] for name, text in drawn.items()} == {
        "often": "27 of the last 30 runs succeeded",
        'sometimes{instance="a",zone=""}': "29 of the last 30 runs succeeded",
        "seldom": "30 of the last 30 runs succeeded",
        "new": None,
    }
    often = sorted(took for _, took, _ in list(jobs[0].runs())[:30])
    assert drawn["often"].endswith(f", they took {often[0]:.2g}s to {often[-1]:.2g}s")
    assert tab.problems == []
