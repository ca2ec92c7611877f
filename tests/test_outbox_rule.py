"""What waits, how changes merge, and by which rule something old is delivered or not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary

from pushgate import (
    Gateway,
    Group,
    GroupFamily,
    GroupingKey,
    JobRun,
    Outcome,
    Sample,
    encode,
    end_families,
    gauge,
    newer_families,
    start_families,
)
from pushgate.outbox._families import content_of, content_type_of, held_content, split
from pushgate.outbox._values import Change, Entry, Kept, after_delivery, merged
from pushgate.outbox.rule import fingerprints, plan
from pushgate.protocol.protobuf import encode_protobuf
from support import debian, servers

NOW = 10_000.0


def text(**values):
    return {name: b"%s %d\n" % (name.encode(), value) for name, value in values.items()}


def put(at, **values):
    return Change("PUT", text(**values), at)


def post(at, **values):
    return Change("POST", text(**values), at)


def delete(at):
    return Change("DELETE", {}, at)


def entry_of(*changes):
    entry = Entry()
    for change in changes:
        entry = merged(entry, change, NOW)
    return entry


def holds(entry):
    return entry.method, {name: kept.body for name, kept in entry.families.items()}


# Merging


changes = st.lists(
    st.builds(
        lambda method, names, at: Change(
            method, {} if method == "DELETE" else dict.fromkeys(names, b"%d" % at), float(at)
        ),
        st.sampled_from(["PUT", "POST", "DELETE"]),
        st.sets(st.sampled_from("abc")),
        st.integers(1, 100),
    ).filter(lambda change: not change.is_heartbeat),
    min_size=1,
    max_size=6,
    unique_by=lambda change: change.at,
)


@given(changes, st.data())
@settings(max_examples=200)
def test_changes_in_any_order_are_as_those_in_the_order_of_their_times(many, data):
    """... and what they leave is what a gateway with nothing or anything would hold."""
    in_order = sorted(many, key=lambda change: change.at)
    entry = entry_of(*data.draw(st.permutations(many)))

    assert entry == entry_of(*in_order)
    for held in ({}, {"a": b"old", "d": b"old"}):
        expected, there = dict(held), bool(held)
        for change in in_order:
            if change.method != "POST":
                expected = {}
            expected |= change.families
            there = change.method != "DELETE"
        method, families = holds(entry)
        found = {**(held if method == "POST" else {}), **families}
        assert (found, method != "DELETE") == (expected, there)


def test_what_was_kept_before_the_clock_was_set_back_is_older():
    future = Entry("PUT", NOW + 100, {"x": Kept(b"x 1\n", NOW + 100), "y": Kept(b"", NOW + 100)})
    assert holds(merged(future, post(NOW, x=2), NOW))[1]["x"] == b"x 2\n"
    assert holds(merged(future, put(NOW, x=2), NOW)) == ("PUT", {"x": b"x 2\n"})


def test_a_delivered_change_takes_along_what_it_replaces_and_nothing_else():
    assert after_delivery(entry_of(put(1, x=1)), put(2, y=1), NOW).is_empty
    assert holds(after_delivery(entry_of(post(1, x=1, y=1)), post(2, y=2), NOW)) == (
        "POST",
        text(x=1),
    )
    # The PUT, once sent, must not undo the POST.
    assert holds(after_delivery(entry_of(put(1, x=1)), post(2, y=2), NOW)) == (
        "PUT",
        text(x=1, y=2),
    )
    assert holds(after_delivery(entry_of(delete(1), post(3, x=3)), put(2, y=2), NOW)) == (
        "POST",
        text(x=3),
    )


# Splitting


def registry():
    made = CollectorRegistry()
    counter = Counter("rows", 'Rows with "quotes"\nand lines.', ["k"], registry=made)
    counter.labels('a"b\\c\nd}').inc(2)
    counter.labels("").inc(1e9)
    Gauge("heat_count", "No histogram's.", registry=made).set(float("nan"))
    histogram = Histogram("temperature", "A histogram.", ["k"], registry=made)
    histogram.labels("x").observe(0.3)
    Summary("took", "A summary.", registry=made).observe(1.5)
    return made


def test_a_body_is_split_into_the_families_that_a_gateway_makes_of_it(gateway_url):
    key = GroupingKey("split", {"k2": "v"})
    body = encode(registry(), key).text + b'plain{x="}"} +Inf\n'
    Gateway(gateway_url).send("PUT", key, body)
    (held,) = Gateway(gateway_url).groups()

    families = split(body)

    assert set(families) == {family.name for family in held.families}
    for family in held.families:
        mine = content_of(family.name, families[family.name], key.labels)
        assert mine.fingerprint == held_content(family, key.labels).fingerprint
    # They are whole: one by one they make the same group.
    for part in families.values():
        Gateway(gateway_url).send("POST", GroupingKey("again"), part)
    again = next(g for g in Gateway(gateway_url).groups() if g.labels == {"job": "again"})
    assert [(f.name, f.type, f.documentation) for f in again.families] == [
        (f.name, f.type, f.documentation) for f in held.families
    ]


@pytest.mark.end_to_end
def test_protobuf_is_split_and_compared_as_text_is():
    made = registry()
    Counter("seen", "With an exemplar.", registry=made).inc(1, {"trace_id": "x"})
    key = GroupingKey("split", {"k2": "v"})
    with servers.pushgateway(debian.require("pushgateway-1.11")) as server:
        body = encode_protobuf(made, key).body
        Gateway(server.url).send("PUT", key, body, content_type=content_type_of("protobuf"))
        (held,) = Gateway(server.url).groups()
    families = split(body, "protobuf")
    assert set(families) == {family.name for family in held.families}
    assert b"".join(families.values()) == body
    for family in held.families:
        mine = content_of(family.name, families[family.name], key.labels, "protobuf")
        assert mine.fingerprint == held_content(family, key.labels).fingerprint, family.name


def test_families_without_samples_are_none_and_names_in_quotes_are_names():
    assert split(b"# HELP a b\n# TYPE a gauge\n\n# a comment\n") == {}
    quoted = b'# TYPE "m.x" gauge\n{"m.x","l.a"="1"} 1\n{"m.x"} 2\n'
    assert split(quoted) == {"m.x": quoted}
    assert content_of("m.x", b'{"m.x"} 2\n', ()).value == 2


# The rule. Times of the gateway are on the same clock here.


def group(push_time=0.0, **families):
    """Families by name: the value, and when it was pushed."""
    return Group(
        {"job": "j"},
        True,
        push_time or max([at for _, at in families.values()], default=0.0),
        0.0,
        tuple(
            GroupFamily(
                name, "untyped", "", at, (Sample(name, {"job": "j", "instance": ""}, value),)
            )
            for name, (value, at) in families.items()
        ),
    )


def decide(entry, held, unanswered=()):
    sent = [
        found
        for change in unanswered
        for found in fingerprints(change.method, change.kept, ("job",))
    ]
    todo = plan(entry, sent, held, ("job",), lambda here, there: there > here)
    return todo.method, "".join(sorted(todo.names)), todo.reason is not None


DONE = "batch_job_last_completion_timestamp_seconds"
TOOK = "batch_job_last_duration_seconds"


@pytest.mark.parametrize(
    ("entry", "held", "expected"),
    [
        # A gateway that has forgotten the group gets all of it.
        (entry_of(post(5, x=1)), None, ("POST", "x", False)),
        (entry_of(put(5, x=1)), None, ("PUT", "x", False)),
        (entry_of(delete(5)), None, (None, "", False)),
        (entry_of(put(5)), None, ("PUT", "", False)),
        # By time; what is the same is not sent.
        (entry_of(post(5, x=1, y=1)), group(x=(2, 4), y=(2, 6)), ("POST", "x", True)),
        (entry_of(post(5, x=1, y=1)), group(x=(2, 6)), ("POST", "y", True)),
        (entry_of(post(5, x=1)), group(x=(1, 9)), (None, "", False)),
        # A PUT and a DELETE with families after it.
        (entry_of(put(5, x=1)), group(x=(2, 4), y=(2, 4)), ("PUT", "x", False)),
        (entry_of(put(5, x=1)), group(x=(1, 9)), (None, "", False)),
        (entry_of(put(5, x=1)), group(x=(1, 9), y=(1, 4)), ("PUT", "x", False)),
        (entry_of(put(5, x=1, y=1)), group(x=(2, 6), z=(2, 6)), (None, "", True)),
        (entry_of(put(5, x=1, y=1)), group(x=(2, 4), z=(2, 6)), ("POST", "xy", True)),
        (entry_of(put(5, x=1), post(9, y=1)), group(z=(2, 6)), ("POST", "y", True)),
        (entry_of(delete(5), post(9, y=1)), group(z=(2, 4)), ("PUT", "y", False)),
        (entry_of(delete(5)), group(x=(1, 4)), ("DELETE", "", False)),
        (entry_of(delete(5)), group(x=(1, 6), y=(1, 4)), (None, "", True)),
        # A group without metrics: emptied before, or since.
        (entry_of(post(5, x=1)), group(push_time=4), ("POST", "x", False)),
        (entry_of(post(5, x=1), post(7, y=1)), group(push_time=6), ("POST", "y", True)),
        (entry_of(put(5, x=1)), group(push_time=6), (None, "", True)),
        (entry_of(delete(5)), group(push_time=4), ("DELETE", "", False)),
        # Whoever pushed when: the later moment, and the later completion.
        (entry_of(post(5, **{DONE: 100})), group(**{DONE: (99, 9)}), ("POST", DONE, False)),
        (entry_of(post(5, **{DONE: 100})), group(**{DONE: (101, 2)}), (None, "", True)),
        (
            entry_of(post(5, **{DONE: 100, TOOK: 7})),
            group(**{DONE: (99, 9), TOOK: (3, 9)}),
            ("POST", DONE + TOOK, False),
        ),
        (
            entry_of(post(5, **{DONE: 100, TOOK: 7})),
            group(**{DONE: (100, 9), TOOK: (3, 9)}),
            ("POST", TOOK, False),
        ),
        (
            entry_of(post(5, **{DONE: 100, TOOK: 7})),
            group(**{DONE: (101, 2), TOOK: (3, 2)}),
            (None, "", True),
        ),
        (entry_of(post(5, **{TOOK: 7})), group(**{DONE: (99, 9), TOOK: (3, 9)}), (None, "", True)),
    ],
)
def test_what_is_sent_of_what_waits(entry, held, expected):
    assert decide(entry, held) == expected


def test_what_an_own_request_without_answer_carried_is_not_newer():
    late = group(x=(1, 9))
    assert decide(entry_of(post(5, x=2)), late) == (None, "", True)
    assert decide(entry_of(post(5, x=2)), late, [post(4, x=1)]) == ("POST", "x", False)
    assert decide(entry_of(put(5, y=2)), late, [post(4, x=1)]) == ("PUT", "y", False)
    assert decide(entry_of(delete(5)), late, [post(4, x=1)]) == ("DELETE", "", False)
    emptied = group(push_time=9)
    assert decide(entry_of(post(5, x=2)), emptied, [put(4)]) == ("POST", "x", False)


def test_the_content_of_a_family_is_the_same_with_and_without_what_a_gateway_adds():
    pushed = b'# TYPE h histogram\nh_bucket{le="1.0",e=""} 2\n'
    held = GroupFamily(
        "h", "histogram", "other help", 1.0, (Sample("h_bucket", {"le": "1", "job": "j"}, 2.0),)
    )
    assert content_of("h", pushed, ("job",)) == held_content(held, ("job",))
    assert content_of("x", encode([gauge("x", "", 1)]).text, ()) != content_of("x", b"x 1\n", ())


# The same rule for families that are not kept yet, such as those of Airflow's scheduler.


KEY = GroupingKey("etl")
RUN = JobRun(KEY, started_at=NOW - 60)


def outcome(status, ended_at=NOW - 10):
    return Outcome(status, ended_at, duration=50.0)


def told(gateway, run, end):
    """The gateway's group after this end was pushed."""
    families = start_families(run) if end is None else end_families(run, end)
    gateway_of(gateway).pushadd(KEY, families)
    return gateway.groups(**KEY.labels)[0]


def gateway_of(gateway):
    return Gateway(gateway.url)


@pytest.mark.parametrize("status", ["success", "failure", "skipped", "retry"])
def test_an_end_that_the_group_shows_says_nothing_newer(pushgateway, status):
    families = end_families(RUN, outcome(status))
    assert newer_families(families, None) == families
    group = told(pushgateway, RUN, outcome(status))
    assert newer_families(families, group) == []
    # Airflow's database knows the start earlier and the end later than the task's process.
    late = end_families(RUN._replace(started_at=NOW - 74), outcome(status, NOW - 8))
    assert newer_families(late, group)
    assert newer_families(late, group, run_started_at=NOW - 74) == []


@pytest.mark.parametrize(("held", "new"), [("failure", "success"), ("success", "failure")])
def test_another_kind_of_end_of_the_same_run_is_newer(pushgateway, held, new):
    group = told(pushgateway, RUN, outcome(held))
    families = newer_families(end_families(RUN, outcome(new)), group, run_started_at=NOW - 60)
    gateway_of(pushgateway).pushadd(KEY, families)
    pushgateway.assert_pushed("batch_job_last_run_success", int(new == "success"))
    pushgateway.assert_pushed(f"batch_job_last_{new}_timestamp_seconds", NOW - 10)


def test_what_comes_late_brings_the_times_that_are_missing_and_no_values(pushgateway):
    group = told(pushgateway, RUN._replace(started_at=NOW), outcome("success", NOW + 50))
    (family,) = newer_families(end_families(RUN, outcome("failure")), group)
    assert family.name == "batch_job_last_failure_timestamp_seconds"
    assert newer_families(start_families(RUN), group) == []


def test_families_of_other_names_are_left_to_the_caller(pushgateway):
    group = told(pushgateway, RUN, outcome("success"))
    rows = gauge("rows", "", 1)
    assert newer_families([rows], group) == [rows]
