"""Which groups are stale, and that deleting takes exactly those, whatever their labels are."""

import pickle
import time

import pytest

from pushgate import (
    DeletionError,
    Gateway,
    GatewayUnreachableError,
    Group,
    GroupFamily,
    GroupingKey,
    JobRun,
    PushError,
    Sample,
    UnconfirmedDeletionError,
    delete_groups,
    gauge,
    prune,
    stale_groups,
    start_families,
)
from pushgate.embedded import EmbeddedGateway
from support.faults import FaultServer, answer, respond
from support.gateways import NEW, OLD, open_gateway

DAY = 86_400.0
NOW = 1_700_000_000.0
EXPIRY = "batch_job_group_expiry_timestamp_seconds"
INTERVAL = "batch_job_expected_interval_seconds"
PAUSED_UNTIL = "batch_job_paused_until_timestamp_seconds"
START = "batch_job_last_start_timestamp_seconds"


def group(pushed=0.0, failed=0.0, /, values=None, **labels):
    """A group that was pushed, and refused, so many days before NOW; 0 for never."""
    families = tuple(
        GroupFamily(name, "gauge", "", NOW, (Sample(name, {}, value),))
        for name, value in (values or {}).items()
    )
    times = [NOW - days * DAY if days else 0.0 for days in (pushed, failed)]
    return Group({"job": "j", **labels}, times[0] >= times[1], *times, families)


def stale(*groups, days=7.0, matchers=()):
    return [
        (entry.group, entry.reason)
        for entry in stale_groups(groups, now=NOW, older_than=days * DAY, matchers=matchers)
    ]


def test_a_group_is_stale_when_its_last_push_is_too_old():
    old = group(8, a="old")
    assert stale(group(6.9, a="new"), old) == [(old, "not pushed for 8d")]


def test_a_refused_push_is_a_sign_of_life_and_all_that_some_groups_have():
    assert stale(group(30, 1)) == []
    refused = group(0, 9)
    assert stale(refused) == [(refused, "only refused pushes, the last 9d ago")]


def test_an_expiry_counts_alone():
    over = group(0.1, values={EXPIRY: NOW - 60}, run="1")
    to_come = group(30, values={EXPIRY: NOW + 60}, run="2")
    assert stale(over, to_come) == [(over, "expired 60s ago")]


def test_the_own_metrics_of_a_run_go_with_its_group_and_not_before():
    over = group(2, values={EXPIRY: NOW - 60}, run="1")
    own_metrics = group(1.9, run="1", origin="job")
    others = [group(30, values={EXPIRY: NOW + 60}, run="2"), group(30, run="2", origin="job")]
    assert [entry for entry, _ in stale(over, own_metrics, *others)] == [over, own_metrics]


@pytest.mark.parametrize(
    ("pushed", "started", "is_stale"), [(59, 70, False), (61, 59, False), (61, 61, True)]
)
def test_a_group_with_a_schedule_stays_for_two_intervals(pushed, started, is_stale):
    monthly = group(pushed, values={INTERVAL: 30 * DAY, START: NOW - started * DAY})
    own_metrics = group(pushed, origin="job")
    assert len(stale(monthly, own_metrics)) == (2 if is_stale else 0)


@pytest.mark.parametrize(("days", "is_stale"), [(-1, False), (6.9, False), (7.1, True)])
def test_what_is_known_of_a_paused_job_outlasts_the_pause(days, is_stale):
    paused = group(30, values={PAUSED_UNTIL: NOW - days * DAY})
    own_metrics = group(31, origin="job")
    assert len(stale(paused, own_metrics)) == (2 if is_stale else 0)


def test_only_matching_groups_are_stale_and_the_oldest_comes_first():
    first, second = group(9, a="x1"), group(8, a="x2")
    found = stale(second, group(9, a="y"), first, matchers="a=~x.*")
    assert [entry for entry, _ in found] == [first, second]


@pytest.fixture
def clock():
    class Clock:
        ahead = 0.0

        def __call__(self):
            return time.time() + self.ahead

    return Clock()


@pytest.fixture
def server(clock):
    with EmbeddedGateway(clock=clock) as server:
        yield server


def labels_of(gateway):
    return sorted((group.labels for group in gateway.groups()), key=str)


def test_pruning_goes_by_the_gateways_clock_and_a_dry_run_deletes_nothing(server, clock):
    gateway = Gateway(server.url)
    clock.ahead = -300 * DAY
    gateway.push("old", gauge("m", "h", 1))
    assert prune(gateway, older_than=DAY) == []
    clock.ahead += 2.5 * DAY
    gateway.push("new", gauge("m", "h", 1))
    assert [entry.group.labels for entry in prune(gateway, older_than=DAY, dry_run=True)] == [
        {"job": "old"}
    ]
    assert len(gateway.groups()) == 2
    assert [entry.reason for entry in prune(gateway, older_than=DAY)] == ["not pushed for 2d"]
    assert labels_of(gateway) == [{"job": "new"}]


@pytest.fixture
def skip(monkeypatch):
    """``skip(seconds)`` moves the monotonic clock on."""
    monotonic, skipped = time.monotonic, [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + skipped[0])
    return lambda seconds: skipped.__setitem__(0, skipped[0] + seconds)


def test_a_group_that_is_pushed_while_others_are_deleted_stays(server, clock, skip):
    class SlowToDelete(Gateway):
        def delete_group(self, labels, *, timeout=None):
            super().delete_group(labels, timeout=timeout)
            self.push("b", gauge("m", "h", 2))
            skip(6)

    gateway = SlowToDelete(server.url)
    for name in "abc":
        gateway.push(name, gauge("m", "h", 1))
    clock.ahead = 2 * DAY
    deleted = prune(gateway, older_than=DAY, force=True)

    assert [entry.group.labels["job"] for entry in deleted] == ["a", "c"]
    assert labels_of(gateway) == [{"job": "b"}]


def test_a_gateway_that_is_slow_to_read_is_not_read_again_for_each_group(server, skip):
    reads = []

    class SlowToRead(Gateway):
        def iter_groups(self, *, timeout=None):
            reads.append(timeout)
            skip(11)
            return super().iter_groups(timeout=timeout)

        def delete_group(self, labels, *, timeout=None):
            super().delete_group(labels, timeout=timeout)
            skip(0.5)

    gateway = SlowToRead(server.url)
    for number in range(20):
        gateway.push(f"j{number}", gauge("m", "h", 1))
    assert len(delete_groups(gateway, "job=~j.*", force=True)) == 20
    assert len(reads) == 1


def test_deleting_takes_all_that_match_and_needs_to_be_told_what(server):
    gateway = Gateway(server.url)
    for job, instance in (("a", "x"), ("a", "y"), ("ab", "x")):
        gateway.push(job, gauge("m", "h", 1), {"instance": instance})
    with pytest.raises(ValueError, match="no matcher says which"):
        delete_groups(gateway, ())
    # Of a variable that is not set, or matchers that Prometheus refuses, too.
    for empty in ("task=", ["task=~", 'dag_id=""'], "x!=5", 'foo!~"bar.*"', "job=~.*", "job=~a|"):
        with pytest.raises(ValueError, match="every group without that label"):
            delete_groups(gateway, empty)
    assert len(delete_groups(gateway, "job=a", dry_run=True)) == 2
    assert len(delete_groups(gateway, ["job=a", "instance!=y"], force=True)) == 1
    assert len(gateway.groups()) == 2


def test_more_than_half_of_a_gateway_or_what_is_new_needs_to_be_confirmed(server, clock):
    gateway = Gateway(server.url)
    clock.ahead = -2 * DAY
    for name in "abcd":
        gateway.push(name, gauge("m", "h", 1))
    clock.ahead = 0
    with pytest.raises(
        UnconfirmedDeletionError, match="it would be 3 of the gateway's 4"
    ) as caught:
        delete_groups(gateway, "job=~[abc]")
    assert (caught.value.deleted, len(caught.value.left)) == ((), 3)
    with pytest.raises(UnconfirmedDeletionError):
        prune(gateway, older_than=DAY)
    assert len(delete_groups(gateway, "job=~[ab]")) == 2, "half of it, and not new"
    gateway.push("c", gauge("m", "h", 1))
    with pytest.raises(UnconfirmedDeletionError, match="1 of them pushed within an hour"):
        delete_groups(gateway, "job=c")
    assert len(gateway.groups()) == 2
    assert len(delete_groups(gateway, "job=~[cd]", force=True)) == 2


def test_what_has_expired_is_pruned_without_being_asked(server, clock):
    gateway = Gateway(server.url)
    for name in "ab":
        run = JobRun(GroupingKey("j", {"run": name}), time.time(), expires_at=time.time() + 60)
        gateway.pushadd(run.key, start_families(run))
    clock.ahead = 120
    assert len(prune(gateway, older_than=DAY)) == 2


def test_a_failure_half_way_says_what_was_deleted_and_what_was_not():
    held = b'{"status":"success","data":[%s]}' % b",".join(
        b'{"labels":{"job":"j%d"},"last_push_successful":true}' % number for number in range(3)
    )
    answers = [answer("200 OK", held), answer("202 Accepted"), answer("403 Forbidden")]
    with FaultServer(respond(*answers)) as server, pytest.raises(DeletionError) as caught:
        delete_groups(Gateway(server.url), "job=~.+", force=True)
    error = pickle.loads(pickle.dumps(caught.value))
    assert [entry.group.labels["job"] for entry in error.deleted] == ["j0"]
    assert [entry.group.labels["job"] for entry in error.left] == ["j1", "j2"]
    assert str(error).startswith("1 of 3 groups were deleted, then: ")
    assert "403" in str(error)


def test_a_gateway_that_cannot_be_read_is_a_delivery_error():
    with pytest.raises(GatewayUnreachableError):
        prune(Gateway("127.0.0.1:1", retries=0), older_than=1)


@pytest.mark.parametrize("older_than", [0, -1, float("nan")])
def test_an_age_that_makes_no_sense_deletes_nothing(older_than):
    with pytest.raises(ValueError, match="older_than is"):
        prune(Gateway("127.0.0.1:1"), older_than=older_than)


POISON = (
    "/metrics/job/a/instance@base64/=",
    "/metrics/job/a/k/%FF%22%0A",
    "/metrics/job/%E2%82/k/%FF",
    "/metrics/job/a/k/%EF%BF%BD",  # U+FFFD itself, which is valid
    "/metrics/job/a/k@base64/=",
    "/metrics/job/a/k@base64/Li4=",
    "/metrics/job/a",
)


@pytest.mark.end_to_end
@pytest.mark.parametrize("kind", [OLD, NEW])  # the embedded one does not let itself be poisoned
def test_groups_that_poison_a_gateway_can_be_deleted(kind):
    with open_gateway(kind) as server:
        for path in POISON:
            server.exchange("PUT", path, "m 1\n")
        gateway = Gateway(server.url, retries=0)
        assert len(gateway.groups()) == len(POISON)
        with pytest.raises(PushError, match="500"):
            gateway.scrape()
        assert len(delete_groups(gateway, 'job=~".+"', force=True)) == len(POISON)
        assert gateway.groups() == []
        gateway.scrape()


@pytest.mark.end_to_end
def test_names_of_utf8_can_be_deleted():
    names = ("U__foo_2e_bar", "U______x", "U___31_x", "U___e4_")
    with open_gateway(NEW, "--push.enable-utf8-names") as server:
        for name in names:
            server.exchange("PUT", f"/metrics/job/a/{name}/x", "m 1\n")
        gateway = Gateway(server.url)
        held = {name for group in gateway.groups() for name in group.labels}
        assert held == {"job", "foo.bar", "__x", "1x", "ä"}
        delete_groups(gateway, 'job=~".+"', force=True)
        assert gateway.groups() == []
