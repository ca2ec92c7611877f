"""The header that publishers write: when, first when, and for beat's tasks when they are due."""

import time
from datetime import timedelta
from types import SimpleNamespace

import pytest
from celery import beat, signals
from celery.schedules import BaseSchedule, crontab

from pushgate_celery import install
from support.celery_inline import make_app

URL = "http://127.0.0.1:1"
HEADER = "pushgate"


class Sender(SimpleNamespace):
    """What sends a signal."""

    __hash__ = object.__hash__


@pytest.fixture(params=[2, 1], ids=["protocol 2", "protocol 1"])
def app(request):
    app = make_app(task_protocol=request.param)
    app.task(name="work", shared=False)(nothing)
    installation = install(app, URL)
    yield app
    installation.uninstall()


def nothing():
    pass


@pytest.fixture
def published(app):
    """The headers of what is published."""
    seen = []

    def keep(headers=None, **_):
        seen.append(headers)

    signals.before_task_publish.connect(keep, weak=False)
    yield seen
    signals.before_task_publish.disconnect(keep)


def publish(app, task="work", **options):
    app.send_task(task, retries=options.pop("retries", 0), **options)


def test_a_message_says_when_it_was_published(app, published):
    before = time.time()
    publish(app)

    now, first = published[0][HEADER]
    assert before <= now == first <= time.time()


def test_a_retry_keeps_when_it_was_first_published_and_its_interval(app, published):
    old = {HEADER: [1000.0, 500.0, 300.0, "nightly"]}
    publish(app, headers=old, retries=1)

    now, *rest = published[0][HEADER]
    assert now > 1000.0
    assert rest == [500.0, 300.0]
    assert old == {HEADER: [1000.0, 500.0, 300.0, "nightly"]}


def test_headers_that_are_handed_on_to_another_task_make_it_no_older(app, published):
    publish(app, headers={HEADER: [1000.0, 500.0, 300.0, "nightly"], "mine": 1})

    now, first = published[0][HEADER]
    assert first == now > 1000.0
    assert published[0]["mine"] == 1


def test_stamping_can_be_switched_off_in_the_configuration(app, published):
    app.conf.pushgate_stamp_headers = False
    publish(app)

    assert HEADER not in published[0]


def test_stamping_can_be_switched_off_by_the_argument(published):
    app = make_app()
    installation = install(app, URL, stamp_headers=False)
    published.clear()
    installation.uninstall()
    before = list(signals.before_task_publish.receivers)
    installation = install(app, URL, stamp_headers=False)

    assert signals.before_task_publish.receivers == before
    installation.uninstall()


def test_odd_headers_do_not_keep_a_message_back(app, published):
    for headers in ({HEADER: "x"}, {HEADER: [None, None]}, {HEADER: {}}):
        publish(app, headers=headers, retries=3)

    assert [len(headers[HEADER]) for headers in published] == [2, 2, 2]


# Beat


class Dawn(BaseSchedule):
    """A schedule of another kind, as the one that knows the sun is."""

    def remaining_estimate(self, last_run_at):
        return timedelta(hours=23, seconds=0.2)

    def is_due(self, last_run_at):
        raise AssertionError("django-celery-beat's has side effects")

    def __eq__(self, other):
        return isinstance(other, Dawn)

    __hash__ = None


class Store(beat.PersistentScheduler):
    """As django-celery-beat's: a subclass with entries and a storage of its own."""


@pytest.fixture(params=[beat.Scheduler, beat.PersistentScheduler, Store])
def scheduler(request, app, tmp_path):
    app.conf.beat_schedule = {
        "often": {"task": "work", "schedule": 2.5, "options": {"headers": {"mine": 1}}},
        "hourly": {"task": "work", "schedule": crontab(minute=0)},
        "dawn": {"task": "unregistered", "schedule": Dawn()},
    }
    scheduler = request.param(app, schedule_filename=str(tmp_path / "schedule"))
    yield scheduler
    scheduler.close()


def begin(app, scheduler):
    signals.beat_init.send(sender=Sender(app=app, scheduler=scheduler))


def test_a_periodic_task_says_when_it_is_due_again(app, scheduler, published, tmp_path):
    begin(app, scheduler)
    for name in ("often", "hourly", "dawn"):
        scheduler.apply_entry(scheduler.schedule[name])

    often, hourly, dawn = (headers[HEADER][2] for headers in published)
    assert often == 2.5
    assert 0 < hourly <= 3600
    assert dawn == 23 * 3600 + 1
    scheduler.sync()
    assert scheduler.schedule["often"].options["headers"].keys() <= {"mine", "celery_beat_task"}
    assert not [path for path in tmp_path.iterdir() if HEADER.encode() in path.read_bytes()]


def test_what_a_periodic_task_publishes_itself_is_not_periodic(app, scheduler, published):
    begin(app, scheduler)
    send = scheduler.app.send_task
    scheduler.send_task = lambda *args, **options: [send("other"), send(*args, **options)][1]
    scheduler.apply_entry(scheduler.schedule["dawn"])
    publish(app)

    assert [len(headers[HEADER]) for headers in published] == [2, 3, 2]


def test_a_schedule_that_can_not_say_it_is_sent_all_the_same(app, scheduler, published):
    begin(app, scheduler)
    entry = scheduler.schedule["often"]
    entry.schedule = SimpleNamespace()
    scheduler.apply_async(entry, advance=False)

    assert len(published[0][HEADER]) == 2


def test_uninstalling_leaves_the_scheduler_as_it_was(app, scheduler, published):
    methods = dict(vars(scheduler))
    installation = install(app, URL)
    begin(app, scheduler)
    assert vars(scheduler).keys() - methods.keys() == {"apply_async"}
    installation.uninstall()

    assert vars(scheduler).keys() == methods.keys()
    scheduler.apply_entry(scheduler.schedule["often"])
    assert HEADER not in published[0]


def test_a_scheduler_of_another_app_is_left_alone(app):
    other = make_app()
    scheduler = beat.Scheduler(other)
    begin(other, scheduler)

    assert "apply_async" not in vars(scheduler)
