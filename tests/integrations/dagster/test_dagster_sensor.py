"""Which runs the sensor reports, and what it says of them. Runs are in process, ticks by hand."""

import math
import time

import dagster
import pytest

import pushgate_dagster
from pushgate import DirectSink, Gateway, job_rows
from pushgate.embedded import EmbeddedGateway
from support.fault_proxy import fault_proxy

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
DAYS = dagster.DailyPartitionsDefinition("2026-01-01")


@dagster.op(config_schema={"fails": bool})
def work(context):
    if context.op_config["fails"]:
        raise LookupError("nothing there")


@dagster.job(partitions_def=DAYS)
def load():
    work()


@dagster.asset(key_prefix="shop")
def orders():
    pass


@dagster.asset(deps=[orders])
def totals():
    raise LookupError("nothing there")


@dagster.asset(deps=[totals])
def report():
    pass


ASSETS = dagster.Definitions(assets=[orders, totals, report])


@pytest.fixture(scope="module")
def instance(tmp_path_factory):
    silent = {"telemetry": {"enabled": False}}
    with dagster.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("home")), silent) as made:
        yield made


class Site:
    """A gateway, and a sensor that begins with nothing told."""

    def __init__(self, instance, gateway):
        instance.wipe()
        self.instance = instance
        self.gateway = gateway
        self.cursor = None
        sink = DirectSink(Gateway(gateway.url, retries=0))
        self.sensor = pushgate_dagster.outcome_sensor(sink=sink, queue_deadline=60)

    def run(self, *, fails=False, partition=None, **tags):
        tags = {f"dagster/{name}": value for name, value in tags.items()}
        config = {**QUIET, "ops": {"work": {"config": {"fails": fails}}}}
        return load.execute_in_process(
            config, self.instance, partition, raise_on_error=False, tags=tags
        ).run_id

    def tick(self, *schedules):
        definitions = dagster.Definitions(jobs=[load], schedules=schedules)
        context = dagster.build_sensor_context(
            self.instance, self.cursor, repository_def=definitions.get_repository_def()
        )
        said = self.sensor(context).skip_message
        self.cursor = context.cursor
        return said

    def told(self):
        """The last run's outcome, by the metrics' short names."""
        groups = Gateway(self.gateway.url).groups()
        assert [group.labels for group in groups] in ([], [{"job": "dagster", "task": "load"}])
        return {
            family.name.removeprefix("batch_job_last_"): family.samples[0].value
            for group in groups
            for family in group.families
        }


@pytest.fixture
def site(instance):
    with EmbeddedGateway() as gateway:
        yield Site(instance, gateway)


@pytest.mark.parametrize(
    ("run", "kind"),
    [
        ({}, "success"),
        ({"fails": True}, "failure"),
        ({"fails": True, "will_retry": "true", "retry_number": "1"}, "retry"),
    ],
)
def test_a_run_is_told_with_the_times_of_its_events(site, run, kind):
    run_id = site.run(**run)
    stats = site.instance.get_run_stats(run_id)
    time.sleep(0.01)  # the tick is later
    site.tick()
    told = site.told()
    assert told["start_timestamp_seconds"] == pytest.approx(stats.start_time, abs=1e-5)
    assert told[f"{kind}_timestamp_seconds"] == pytest.approx(stats.end_time, abs=1e-5)
    assert told["try_number"] == (2 if kind == "retry" else 1)
    assert ("completion_timestamp_seconds" in told) == (kind != "retry")


def test_each_run_is_told_once_also_when_it_gets_a_tag_later(site):
    run_id = site.run()
    assert site.tick() == "1 reports pushed"
    site.instance.add_run_tags(run_id, {"looked": "at"})
    assert site.tick() == "0 reports pushed"


def test_a_failure_is_told_once_dagster_has_said_whether_it_tries_again(tmp_path, monkeypatch):
    settings = {"telemetry": {"enabled": False}, "run_retries": {"enabled": True}}
    with (
        EmbeddedGateway() as gateway,
        dagster.DagsterInstance.local_temp(str(tmp_path), settings) as instance,
    ):
        site, tag = Site(instance, gateway), instance.add_run_tags

        def after_a_tick(*arguments):
            site.tick()
            tag(*arguments)

        monkeypatch.setattr(instance, "add_run_tags", after_a_tick)
        site.run(fails=True, max_retries="1")
        assert "completion_timestamp_seconds" not in site.told()
        site.tick()
        assert site.told().keys() >= {"retry_timestamp_seconds"}
        assert "failure_timestamp_seconds" not in site.told()


@pytest.mark.parametrize(
    "other",
    [
        {"backfill": "abc"},
        {"solid_selection": "work"},
        {"partition": "2026-01-02"},
    ],
)
def test_what_is_no_real_run_does_not_speak(site, other):
    site.run(fails=True, partition="2026-01-03")
    site.run(**other)
    site.tick()
    assert site.told()["run_success"] == 0


def test_the_latest_partition_speaks_again(site):
    site.run(fails=True, partition="2026-01-03")
    site.run(partition="2026-01-03")
    site.tick()
    assert site.told()["run_success"] == 1


@pytest.mark.parametrize(
    ("status", "interval"),
    [
        (dagster.DefaultScheduleStatus.RUNNING, 3600.0),
        (dagster.DefaultScheduleStatus.STOPPED, math.nan),
    ],
)
def test_a_schedule_that_runs_tells_its_interval(site, status, interval):
    site.run(schedule_name="hourly")
    schedule = dagster.ScheduleDefinition(
        "hourly", cron_schedule="@hourly", job=load, default_status=status
    )
    site.tick(schedule)
    told = site.told()["batch_job_expected_interval_seconds"]
    assert told == pytest.approx(interval, nan_ok=True)


def test_assets_without_a_job_are_told_one_by_one(site):
    made_up = ASSETS.resolve_implicit_global_asset_job_def()
    assets = [orders.key, totals.key, report.key]
    run = made_up.execute_in_process(
        QUIET, site.instance, asset_selection=assets, raise_on_error=False
    )
    site.tick()
    rows = job_rows(Gateway(site.gateway.url).groups(), now=time.time())
    assert {row.labels["task"]: row.outcome for row in rows} == {
        "asset:shop/orders": "succeeded",
        "asset:totals": "failed",
        "asset:report": "upstream failed",
    }
    assert rows[0].info == {"exception": "LookupError", "run_id": run.run_id}


def test_while_the_gateway_is_away_runs_wait_in_order(instance):
    with (
        EmbeddedGateway() as gateway,
        fault_proxy(int(gateway.url.rpartition(":")[2]), down=True) as proxy,
    ):
        site = Site(instance, proxy)
        site.run()
        site.tick()
        site.run(fails=True)
        assert "0 reports pushed; others wait in Dagster's database" in site.tick()
        proxy.listen()
        assert site.tick() == "2 reports pushed"
        told = site.told()
    assert told["run_success"] == 0
    assert told["success_timestamp_seconds"] < told["failure_timestamp_seconds"]
