"""How changes merge while they wait, and by which rule something old is delivered or not.

The gateway's clock is ours; what it holds was pushed at times that a test chooses.
"""

import itertools
import time
import urllib.request
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary

from pushgate import Gateway, GroupingKey, Outbox, encode, gauge
from pushgate.embedded import EmbeddedGateway

KEY = GroupingKey("j")
DONE = "batch_job_last_completion_timestamp_seconds"
START = "batch_job_last_start_timestamp_seconds"
TOOK = "batch_job_last_duration_seconds"
STEP = 10.0  # seconds from one time of a test to the next: more than a clock is read exactly


class Story:
    """Changes at the times 1, 2, 3 …, by this host, which keeps them, and by others."""

    def __init__(self, path):
        self._now = None
        self._started = time.time() - 1000 * STEP
        self.outbox = Outbox(path)
        self.server = EmbeddedGateway(clock=lambda: self._now or time.time())
        self.server.start()
        self.others = Gateway(self.server.url, retries=0)

    def close(self):
        self.server.stop()

    def at(self, number):
        return self._started + number * STEP

    def keep(self, method, number, **values):
        change = (method, KEY, text(values), self.at(number))
        assert self.outbox.keep(self.server.url, [change])

    def push(self, method, number, **values):
        self._now = self.at(number)
        self.others.send(method, KEY, text(values))
        self._now = None

    def flush(self):
        """What the gateway holds then, and whether anything was said not to be sent."""
        flushed = self.outbox.flush(self.others)
        assert (flushed.left, flushed.error, self.outbox.is_empty()) == (0, None, True)
        return self.held(), len(flushed.dropped)

    def held(self):
        for group in self.others.groups():
            return {f.name: f.samples[0].value for f in group.families}
        return None


def text(values):
    return b"".join(b"%s %d\n" % (name.encode(), value) for name, value in values.items())


@pytest.fixture
def story(tmp_path):
    made = Story(tmp_path / "outbox")
    yield made
    made.close()


@pytest.mark.parametrize("value", [b"+Inf", b"NaN", b"-Inf", b"1700000000000"])
def test_a_time_that_no_clock_shows_does_not_keep_the_true_one_away(story, value):
    story.keep("POST", 1, **{START: 20, TOOK: 3})
    story._now = story.at(2)
    body = b"%s %s\n%s 4\n" % (START.encode(), value, TOOK.encode())
    request = urllib.request.Request(f"{story.server.url}/metrics/job/j", body, method="POST")
    urllib.request.urlopen(request).close()
    story._now = None
    assert story.flush()[0] == {START: 20, TOOK: 3}


def post(at, **values):
    return ("POST", at, values)


def put(at, **values):
    return ("PUT", at, values)


def delete(at):
    return ("DELETE", at, {})


@pytest.mark.parametrize(
    ("kept", "pushed", "held", "dropped"),
    [
        # A gateway that has forgotten the group gets all of it.
        ([post(5, x=1)], [], {"x": 1}, 0),
        ([put(5, x=1)], [], {"x": 1}, 0),
        ([delete(5)], [], None, 0),
        ([put(5)], [], {}, 0),
        # By time, family by family.
        ([post(5, x=1, y=1)], [post(4, x=2), post(6, y=2)], {"x": 1, "y": 2}, 1),
        ([post(5, x=1, y=1)], [post(6, x=2)], {"x": 2, "y": 1}, 1),
        ([post(5, x=1)], [post(9, x=1)], {"x": 1}, 0),
        # A PUT, and a DELETE with families after it.
        ([put(5, x=1)], [post(4, x=2, y=2)], {"x": 1}, 0),
        ([put(5, x=1)], [post(4, y=1), post(9, x=1)], {"x": 1}, 0),
        ([put(5, x=1, y=1)], [post(6, x=2, z=2)], {"x": 2, "z": 2}, 1),
        ([put(5, x=1, y=1)], [post(4, x=2), post(6, z=2)], {"x": 1, "y": 1, "z": 2}, 1),
        ([put(5, x=1), post(9, y=1)], [post(6, z=2)], {"y": 1, "z": 2}, 1),
        ([delete(5), post(9, y=1)], [post(4, z=2)], {"y": 1}, 0),
        ([delete(5)], [post(4, x=1)], None, 0),
        ([delete(5)], [post(4, y=1), post(6, x=1)], {"x": 1, "y": 1}, 1),
        # A group without metrics: emptied before, or since.
        ([post(5, x=1)], [put(4)], {"x": 1}, 0),
        ([post(5, x=1), post(7, y=1)], [put(6)], {"y": 1}, 1),
        ([put(5, x=1)], [put(6)], {}, 1),
        ([delete(5)], [put(4)], None, 0),
        # Whoever pushed when: the later moment, and the later run.
        ([post(5, **{DONE: 100})], [post(9, **{DONE: 99})], {DONE: 100}, 0),
        ([post(5, **{DONE: 100})], [post(2, **{DONE: 101})], {DONE: 101}, 1),
        *(
            (
                [post(5, **{time: 100, TOOK: 7})],
                [post(at, **{time: other, TOOK: 3})],
                {time: max(100, other), TOOK: 7 if other <= 100 else 3},
                other > 100,
            )
            for time, (other, at) in itertools.product((DONE, START), ((99, 9), (100, 9), (101, 2)))
        ),
        ([post(5, **{TOOK: 7})], [post(9, **{DONE: 99, TOOK: 3})], {DONE: 99, TOOK: 3}, 1),
    ],
)
def test_what_waits_never_overwrites_what_is_newer(story, kept, pushed, held, dropped):
    for method, at, values in kept:
        story.keep(method, at, **values)
    for method, at, values in pushed:
        story.push(method, at, **values)
    assert story.flush() == (held, dropped)


@pytest.mark.parametrize(
    ("kept", "held"),
    [
        ([post(5, x=2)], {"x": 2}),
        ([put(5, y=2)], {"y": 2}),
        ([delete(5)], None),
    ],
)
@pytest.mark.parametrize("was_kept", [True, False])
def test_an_own_request_that_arrives_late_is_not_newer(story, kept, held, was_kept):
    """What was replaced while it waited may have been sent; or the caller says that it was."""
    if was_kept:
        story.keep("POST", 4, x=1)
    for method, at, values in kept:
        story.keep(method, at, **values)
    if not was_kept:
        assert story.outbox.keep(story.server.url, [], unanswered=[("POST", KEY, b"x 1\n")])
    story.push("POST", 9, x=1)
    assert story.flush() == (held, 0)


def test_an_own_request_that_emptied_the_group_late_is_not_newer(story):
    story.keep("PUT", 4)
    story.keep("POST", 5, x=2)
    story.push("PUT", 9)
    assert story.flush() == ({"x": 2}, 0)


def test_of_what_was_pushed_at_the_same_moment_what_waits_counts_as_newer(story):
    moment = time.time() - 100
    assert story.outbox.keep(story.server.url, [("POST", KEY, b"x 1\n", moment)])
    story._now = moment
    story.others.send("POST", KEY, b"x 2\n")
    story._now = None
    assert story.flush() == ({"x": 1}, 0)


@pytest.mark.parametrize("ahead", [3600.4, -86_399.7])
def test_a_gateway_whose_clock_is_wrong_is_understood(tmp_path, ahead):
    outbox, now = Outbox(tmp_path / "outbox"), time.time()
    with EmbeddedGateway(clock=lambda: time.time() + ahead) as server:
        gateway = Gateway(server.url, retries=0)
        gateway.send("PUT", KEY, b"x 1\ny 1\n")
        for name, at in (("x", now - 3), ("y", time.time())):
            text = b"%s 2\n" % name.encode()
            assert outbox.keep(server.url, [("POST", KEY, text, at)])
        assert len(outbox.flush(gateway).dropped) == 1
        (group,) = gateway.groups()
    assert (group.value("x"), group.value("y")) == (1, 2)


# Merging


changes = st.lists(
    st.builds(
        lambda method, names, at: (
            method,
            at,
            {} if method == "DELETE" else dict.fromkeys(sorted(names), at),
        ),
        st.sampled_from(["PUT", "POST", "DELETE"]),
        st.sets(st.sampled_from("abc")),
        st.integers(1, 100),
    ).filter(lambda change: change[0] != "POST" or change[2]),
    min_size=1,
    max_size=6,
    unique_by=lambda change: change[1],
)


@pytest.fixture(scope="module")
def long_story(tmp_path_factory):
    made = Story(tmp_path_factory.mktemp("outbox") / "outbox")
    yield made
    made.close()


@given(changes, st.booleans(), st.data())
@settings(max_examples=30)  # each with a gateway and a folder
def test_changes_kept_in_any_order_do_what_they_would_have_done_in_order(
    long_story, many, is_held, data
):
    story = long_story
    story.others.delete(KEY)
    if is_held:
        story.push("PUT", 0, a=0, d=0)
    expected = {"a": 0, "d": 0} if is_held else None
    for method, _, values in sorted(many, key=lambda change: change[1]):
        expected = {
            "DELETE": lambda _: None,
            "PUT": lambda new, **_: dict(new),
            "POST": lambda new, old=expected: {**(old or {}), **new},
        }[method](values)
    for method, at, values in data.draw(st.permutations(many)):
        story.keep(method, at, **values)
    assert story.flush() == (expected, 0)


def test_what_was_kept_before_the_clock_was_set_back_is_older(story, monkeypatch):
    with monkeypatch.context() as patch:
        ahead = time.time() + 1000
        patch.setattr(time, "time", lambda: ahead)
        assert story.outbox.keep(story.server.url, [("PUT", KEY, b"x 1\ny 1\n", ahead)])
    story.keep("POST", 999, x=2)
    assert story.flush() == ({"x": 2, "y": 1}, 0)


# Families


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


def test_each_family_waits_as_it_was_and_is_not_sent_if_the_gateway_holds_it(gateway_url, tmp_path):
    key = GroupingKey("split", {"k2": "v"})
    body = encode(registry(), key).text + b'plain{x="}"} +Inf\n'
    gateway, outbox = Gateway(gateway_url), Outbox(tmp_path / "outbox")

    def kept():
        assert outbox.keep(gateway_url, [("PUT", key, body, time.time() - 100)])
        (waits,) = outbox.waiting()
        flushed = outbox.flush(gateway)
        assert (flushed.delivered, flushed.dropped) == (1, ())
        (held,) = (group for group in gateway.groups() if group.labels == key.labels)
        assert set(waits.families) == {family.name for family in held.families}
        return held

    gateway.send("PUT", key, body)
    (pushed,) = gateway.groups()
    assert repr(kept()) == repr(pushed), "it was sent, though the gateway held it"
    gateway.delete(key)
    for one, other in zip(pushed.families, kept().families, strict=True):
        assert repr(replace(one, pushed_at=0.0)) == repr(replace(other, pushed_at=0.0))


def test_names_in_quotes_wait_and_are_compared_as_names(story):
    quoted = b'# TYPE "m.x" gauge\n{"m.x","l.a"="1"} 1\n{"m.x"} 2\n'
    assert story.outbox.keep(story.server.url, [("POST", KEY, quoted, 1.0)])
    assert story.outbox.keep(
        story.server.url, [("POST", KEY, encode([gauge("y", "", 1)]).text, 1.0)]
    )
    (waits,) = story.outbox.waiting()
    assert waits.families == ("m.x", "y")
