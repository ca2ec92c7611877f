"""Commands and tasks of the project in examples/django, and what the gateway holds of them."""

import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from pushgate import Gateway, job_rows

pytestmark = pytest.mark.skipif(not find_spec("django_tasks_db"), reason="needs django_tasks_db")
PROJECT = Path(__file__).parents[3] / "examples" / "django"
PATIENCE = 60.0
DAY = 86_400.0

COMMANDS = """
import sys, django
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

settings.configure(PUSHGATE={"gateway": sys.argv[1], "job": "shop"})
django.setup()
from pushgate_django import PushgateMixin

class Command(PushgateMixin, BaseCommand):
    def add_arguments(self, parser):
        parser.add_argument("end")
        parser.add_argument("--dry-run", action="store_true")

    def pushgate_group(self, *, end, **_):
        return {"end": end}

    def handle(self, *, end, **_):
        raise eval(end)

def run(end, **options):
    try:
        call_command(Command(), end, **options)
    except BaseException as error:
        print(repr(error))

"""
WORK = """
import sys, django
from django.core.management import call_command

django.setup()
call_command("migrate", verbosity=0)
import hurting
from django_tasks_db.models import DBTaskResult
from shop import tasks

for task in sys.argv[1:]:
    eval(task).enqueue(1)
call_command("db_worker", batch=True, startup_delay=False, verbosity=0)
print(*DBTaskResult.objects.order_by("enqueued_at").values_list("status", flat=True))
"""
IN_THE_CALLER = """
import django
from django.conf import settings

settings.configure()
django.setup()
from pushgate_django import install
from shop import tasks

class Printed:
    def started(self, run):
        print("started", run.key)

    def finished(self, run, outcome):
        print(outcome.status.value)

uninstall = install(sink=Printed())
tasks.send_receipt.enqueue(1)
uninstall()
tasks.send_receipt.enqueue(2)
"""
TASKS = """
import os
import time
from pushgate import Gateway
from shop.tasks import task

@task
def kill_the_worker(_):
    while not Gateway(os.environ["PUSHGATE_GATEWAY"]).groups():
        time.sleep(0.01)
    os.kill(os.getpid(), 9)
"""


class Project:
    """The project with a database of its own; its gateway is at ``url``."""

    def __init__(self, url, folder):
        self.gateway = Gateway(url)
        self._folder = folder
        self.environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "shop.settings",
            "PUSHGATE_GATEWAY": url,
            "PUSHGATE_RETRIES": "0",
            "PUSHGATE_STATE_DIR": str(folder / "state"),
            "PYTHONPATH": os.pathsep.join([str(PROJECT), str(folder)]),
            "SHOP_DATABASE": str(folder / "db"),
        }

    def python(self, *arguments, code=0):
        """Runs Python with these; returns what it printed, and then its lines on stderr."""
        done = subprocess.run(
            [sys.executable, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done.stdout.splitlines(), done.stderr.splitlines()

    def manage(self, *arguments, code=0):
        return self.python(str(PROJECT / "manage.py"), *arguments, code=code)

    def work(self, *tasks, code=0):
        """Enqueue the tasks and run a worker; their states in Django, and its lines on stderr."""
        (self._folder / "hurting.py").write_text(TASKS)
        output, lines = self.python("-c", WORK, *tasks, code=code)
        return output, "\n".join(lines)

    def row(self, later=0.0, **labels):
        rows = job_rows(self.gateway.groups(), now=time.time() + later)
        [row] = [row for row in rows if row.labels == {"job": "shop", **labels}]
        return row


@pytest.fixture
def project(gateway_url, tmp_path):
    return Project(gateway_url, tmp_path)


def test_a_command_s_exit_status_and_own_metrics_are_told(project):
    assert project.manage("import_prices", "1200") == (["1200 prices imported"], [])
    row = project.row(task="import_prices")
    assert (row.outcome, row.interval, row.numbers["last_exit_code"]) == ("succeeded", DAY, 0)
    own = {"job": "shop", "task": "import_prices", "origin": "job"}
    [group] = [group for group in project.gateway.groups() if group.labels == own]
    assert group.value("prices_imported") == 1200

    assert project.manage("import_prices", "0", code=3) == ([], ["CommandError: the file is empty"])
    row = project.row(task="import_prices")
    assert (row.outcome, row.numbers["last_exit_code"]) == ("failed", 3)
    assert row.info["exception"] == "CommandError"
    assert row.last_success is not None


ENDS = {
    "CommandError('no', returncode=4)": ("failed", 4, "CommandError"),
    "KeyError('price')": ("failed", 1, "KeyError"),
    "SystemExit(5)": ("failed", 5, "exit 5"),
    "SystemExit('no')": ("failed", 1, "exit 1"),
    "SystemExit()": ("succeeded", 0, None),
    "KeyboardInterrupt()": ("failed", 130, "KeyboardInterrupt"),
}


def test_a_command_fails_as_its_process_would(server, tmp_path):
    project = Project(server.url, tmp_path)
    program = f"{COMMANDS}\nfor end in sys.argv[2:]: run(end)"
    output, lines = project.python("-c", program, server.url, *ENDS)
    assert (len(output), lines) == (len(ENDS), [])
    rows = {row.labels["end"]: row for row in job_rows(project.gateway.groups(), now=time.time())}
    for end, (outcome, code, exception) in ENDS.items():
        row = rows[end]
        assert (row.outcome, row.numbers["last_exit_code"]) == (outcome, code)
        assert row.info.get("exception") == exception


def test_only_real_runs_are_told(server, tmp_path):
    project = Project(server.url, tmp_path)
    runs = """
from django.test.utils import setup_test_environment, teardown_test_environment
run("KeyError()", dry_run=True)
setup_test_environment()
run("KeyError()")
teardown_test_environment()
settings.PUSHGATE["enabled"] = False
run("KeyError()")
"""
    assert project.python("-c", COMMANDS + runs, server.url) == (["KeyError()"] * 3, [])
    assert project.gateway.groups() == []


def test_tasks_are_told_by_the_worker(project):
    told = project.work("tasks.send_receipt", "tasks.charge")
    assert told == (["SUCCESSFUL FAILED"], "")
    good, bad = project.row(task="shop.tasks.send_receipt"), project.row(task="shop.tasks.charge")
    assert (good.outcome, bad.outcome) == ("succeeded", "failed")
    assert bad.info["exception"] == "ConnectionError"
    assert good.numbers["last_queue_wait_seconds"] > 0
    assert good.numbers["last_try_number"] == 1


@pytest.mark.end_to_end
def test_a_gateway_that_is_down_gets_the_tasks_later_and_they_do_not_notice(server, tmp_path):
    project = Project(server.url, tmp_path)
    server.stop()
    states, lines = project.work("tasks.send_receipt")
    assert (states, "wait in the outbox" in lines) == (["SUCCESSFUL"], True)
    server.start()
    project.python("-m", "pushgate", "flush")
    assert project.row(task="shop.tasks.send_receipt").outcome == "succeeded"


@pytest.mark.end_to_end
@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("{'timeouts': 3}", "PUSHGATE['timeouts'] in Django's settings: there is no such option"),
        ("'http://gateway'", "PUSHGATE in Django's settings is a str, not a dict"),
    ],
)
def test_settings_that_are_wrong_are_said_and_fail_nothing(value, why, server, tmp_path):
    project = Project(server.url, tmp_path)
    (tmp_path / "wrong.py").write_text(f"from shop.settings import *\nPUSHGATE = {value}")
    project.environment["DJANGO_SETTINGS_MODULE"] = "wrong"
    states, line = project.work("tasks.send_receipt")
    assert states == ["SUCCESSFUL"]
    assert why in line
    output, [line] = project.manage("import_prices", "1200")
    assert output == ["1200 prices imported"]
    assert why in line


@pytest.mark.end_to_end
def test_a_task_whose_worker_was_killed_is_stuck(server, tmp_path):
    project = Project(server.url, tmp_path)
    project.work("hurting.kill_the_worker", code=-9)
    row = project.row(later=2 * DAY, task="hurting.kill_the_worker")
    assert (row.outcome, row.stuck) == ("running", True)


def test_a_schedule_that_is_none_costs_a_line(server, tmp_path):
    project = Project(server.url, tmp_path)
    run = "Command.pushgate_expect_every = 'daily'; run('SystemExit()')"
    _, [line] = project.python("-c", COMMANDS + run, server.url)
    assert "'daily' is no schedule" in line
    assert project.row(task="__main__", end="SystemExit()").outcome == "succeeded"


def test_until_it_is_uninstalled_a_sink_gets_the_tasks(server, tmp_path):
    output, _ = Project(server.url, tmp_path).python("-c", IN_THE_CALLER)
    assert output == ['started {job="django",task="shop.tasks.send_receipt"}', "success"]
