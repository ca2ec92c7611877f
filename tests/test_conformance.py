"""What a Pushgateway does, on real ones and on the embedded one, in raw HTTP.

A number in a test's name or id is the fact's in shared/facts/pushgateway.md; `new` marks what was
found while writing these. `old=` is what 1.5.1 does where it differs from 1.11.2, and `embedded=`
where the embedded gateway differs on purpose (see its docstring).
"""

import gzip
import http.client
import re
import socket
import struct
import time
from contextlib import closing
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
import snappy

from support.gateways import EMBEDDED, OLD

JOB = "/metrics/job/x"
SNAPPY = snappy.StreamCompressor().compress(b"m 1\n")
PROTOBUF = (
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
)
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def samples(gateway):
    """The pushed lines of /metrics but HELP, TYPE and push times; without the labels of group x."""
    answer = gateway.exchange("GET", "/metrics")
    assert answer.status == 200, answer.text
    lines = [line for line in answer.text.split("\n") if re.search(r'[{,]job="', line)]
    plain = [re.sub(r',?instance="",job="x"', "", line).replace("{,", "{") for line in lines]
    return [line.replace("{}", "") for line in plain if not re.match(r"push_(failure_)?time", line)]


def labels_of(gateway):
    return [group["labels"] for group in gateway.groups()]


def push_times(gateway):
    """(push_time_seconds, push_failure_time_seconds) of the only group."""
    (group,) = gateway.groups()
    succeeded, failed = (
        float(group[name]["metrics"][0]["value"])
        for name in ("push_time_seconds", "push_failure_time_seconds")
    )
    return succeeded, failed


def address(gateway):
    parts = urlsplit(gateway.url)
    return parts.hostname or "", parts.port or 0


def put(gateway, target, body="", **headers):
    return gateway.exchange("PUT", target, body, **headers)


# -- What a body may be ------------------------------------------------------------------------


@dataclass(frozen=True)
class Accepted:
    lines: tuple[str, ...]

    def holds(self, gateway, answer):
        assert (answer.status, answer.text) == (200, "")
        assert samples(gateway) == list(self.lines)


@dataclass(frozen=True)
class Refused:
    """400. Consistency is checked after parsing, and then the group exists, with a failure time."""

    reason: str
    leaves_group: bool = False
    status: int = 400

    def holds(self, gateway, answer):
        assert answer.status == self.status
        assert self.reason in answer.text
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert labels_of(gateway) == ([{"job": "x"}] if self.leaves_group else [])
        assert samples(gateway) == []


Outcome = Accepted | Refused


@dataclass(frozen=True)
class Body:
    id: str
    body: bytes | str
    outcome: Outcome
    old: Outcome | None = None
    embedded: Outcome | None = None

    def outcome_on(self, kind):
        return {OLD: self.old, EMBEDDED: self.embedded}.get(kind) or self.outcome


def ok(*lines):
    return Accepted(lines)


def bad(reason):
    return Refused(reason)


def inconsistent(reason):
    return Refused(reason, leaves_group=True)


HISTOGRAM = "# TYPE m histogram\n"
SUMMARY = "# TYPE m summary\n"
EMPTY_HISTOGRAM = ('m_bucket{le="+Inf"} 0', "m_sum 0", "m_count 0")

BODIES = [
    # Lines
    Body("06-no-final-newline", "m 1", bad("unexpected end of input stream")),
    Body("06-blank-last-line", "m 1\n \t", ok("m 1")),
    Body("06-crlf", "m 1\r\n", bad("expected float as value")),
    Body("07-timestamp", "m 1 5\n", inconsistent("must not have timestamps")),
    Body("07-timestamp-of-a-bucket", HISTOGRAM + "m_bucket 1 5\n", inconsistent("timestamps")),
    Body("08-parse-error", "1m 1\n", bad("invalid metric name")),
    Body("08-name-with-dash", "a-b 1\n", bad("expected float as value")),
    Body("08-blank-after-value", "m 1 \n", bad("expected integer as timestamp")),
    Body("08-exemplar", 'm 1 # {a="b"} 1\n', bad("expected integer as timestamp")),
    Body("08-byte-order-mark", "\ufeffm 1\n", bad("invalid metric name")),
    Body("new-comments", "#\n# x\n\n  \n# EOF\nm 1\n", ok("m 1")),
    Body("new-blanks", '\tm\t{ a = "1" , }\t1\n', ok('m{a="1"} 1')),
    Body("new-no-samples", "# TYPE m gauge\n", ok()),
    # Names
    Body("new-colon-in-metric", ":a:b 1\n", ok(":a:b 1")),
    Body("new-colon-in-label", 'm{a:b="1"} 1\n', bad("label")),
    Body("22-utf8-name", "\u00e9 1\n", bad("invalid metric name")),
    Body("22-quoted-utf8-name", '{"m.x"} 1\n', bad("invalid metric name")),
    Body("22-quoted-plain-name", '{"m"} 1\n', ok("m 1"), *[bad("invalid metric name")] * 2),
    # Labels
    Body("10-job-overwritten", 'm{job="y"} 1\n', ok("m 1")),
    Body("11-own-instance-kept", 'm{instance="i"} 1\n', ok('m{instance="i",job="x"} 1')),
    Body("10-duplicate", "m 1\nm 2\n", inconsistent("collected before with the same name")),
    Body("10-duplicate-reordered", 'm{a="1",b="2"} 1\nm{b="2",a="1"} 2\n', inconsistent("before")),
    Body("new-reserved-label", 'm{__x="1"} 1\n', inconsistent("invalid name: __x")),
    Body("new-name-label", 'm{__name__="n"} 1\n', bad('"__name__" is reserved')),
    Body("new-label-twice", 'm{a="1",a="2"} 1\n', bad("duplicate label names")),
    # Stored side by side here, but one series to Prometheus.
    Body("new-empty-label-value", 'm{a=""} 1\nm 2\n', ok("m 2", 'm{a=""} 1')),
    Body("new-escapes", r'm{a="x\ny\\z\"q"} 1' + "\n", ok(r'm{a="x\ny\\z\"q"} 1')),
    Body("new-unknown-escape", 'm{a="x\\ty"} 1\n', bad("")),
    Body("new-raw-newline", 'm{a="x\ny"} 1\n', bad("")),
    Body("new-controls", 'm{a="\x00\x01\t\x7f"} 1\n', ok('m{a="\x00\x01\t\x7f"} 1')),
    Body("23-label-not-utf8", b'm{a="\xff"} 1\n', bad("invalid label value")),
    Body("new-long-value", f'm{{a="{"v" * 300_000}"}} 1\n', ok(f'm{{a="{"v" * 300_000}"}} 1')),
    Body("new-le-on-gauge", 'm{le="1"} 1\nm{le="1.0"} 1\n', ok('m{le="1"} 1', 'm{le="1.0"} 1')),
    # Values
    Body(
        "new-values",
        "a NaN\nb +Inf\nc -Inf\nd infinity\ne .5\nf 5.\ng +3\nh 1E5\ni 1e-400\nj -0\n",
        ok(
            *("a NaN", "b +Inf", "c -Inf", "d +Inf", "e 0.5"),
            *("f 5", "g 3", "h 100000", "i 0", "j 0"),
        ),
    ),
    Body(
        "new-formats",
        "a 999999.5\nb 1e6\nc 1234567.5\nd 0.0001\ne 0.000012345\nf 9007199254740993\ng -1e21\n"
        "h 1.7976931348623157e308\ni 5e-324\n",
        ok(
            *("a 999999.5", "b 1e+06", "c 1.2345675e+06", "d 0.0001", "e 1.2345e-05"),
            *("f 9.007199254740992e+15", "g -1e+21", "h 1.7976931348623157e+308", "i 5e-324"),
        ),
    ),
    *[
        Body(f"new-value-{value}", f"m {value}\n", bad("expected float as value"))
        for value in ("1e400", "-NaN", "+nan", "1_0", "0x10", "0x1p3", "\u0661", "")
    ],
    Body("new-negative-counter", "# TYPE m counter\nm -5\n", ok("m -5")),
    # HELP and TYPE
    Body("20-type-unknown", "# TYPE m unknown\nm 1\n", bad("unknown metric type")),
    Body("20-type-stateset", "# TYPE m stateset\nm 1\n", bad("unknown metric type")),
    Body("20-type-info", "# TYPE m info\nm 1\n", bad("unknown metric type")),
    Body("20-type-in-capitals", "# TYPE m GAUGE\nm 1\n", ok("m 1")),
    Body("new-type-and-blank", "# TYPE m gauge \nm 1\n", bad("unknown metric type")),
    Body("new-type-after-sample", "m 1\n# TYPE m gauge\n", bad("second TYPE line")),
    Body("new-help-after-sample", "m 1\n# HELP m h\n", ok("m 1")),
    Body("new-help-twice", "# HELP m h\n# HELP m h\nm 1\n", bad("second HELP line")),
    Body("new-help-empty", "# HELP m \n# HELP m\nm 1\n", ok("m 1")),
    Body("new-help-unknown-escape", "# HELP m \\t\nm 1\n", bad("invalid escape sequence")),
    Body("new-help-escaped-quote", '# HELP m \\"\nm 1\n', ok("m 1"), old=bad("invalid escape")),
    Body("new-help-not-utf8", b"# HELP m \xff\nm 1\n", ok("m 1")),
    Body(
        "new-family-in-two-blocks",
        '# TYPE m gauge\nm{a="1"} 1\nn 1\nm{a="2"} 1\n',
        ok('m{a="1"} 1', 'm{a="2"} 1', "n 1"),
    ),
    Body(
        "new-family-typed-twice",
        '# TYPE m gauge\nm{a="1"} 1\nn 1\n# TYPE m gauge\nm{a="2"} 1\n',
        bad("second TYPE line"),
    ),
    # Histograms
    Body(
        "new-no-inf-bucket",
        HISTOGRAM + 'm_bucket{le="1"} 2\nm_sum 3\nm_count 2\n',
        ok('m_bucket{le="1"} 2', 'm_bucket{le="+Inf"} 2', "m_sum 3", "m_count 2"),
    ),
    Body("new-le-not-a-number", HISTOGRAM + 'm_bucket{le="x"} 2\n', bad("expected float")),
    Body("new-le-nan", HISTOGRAM + 'm_bucket{le="NaN"} 2\n', ok(*EMPTY_HISTOGRAM)),
    # Both stay; /api/v1/metrics shows the last.
    Body(
        "new-le-equal-as-numbers",
        HISTOGRAM + 'm_bucket{le="1"} 2\nm_bucket{le="1.0"} 3\n',
        ok('m_bucket{le="1"} 2', 'm_bucket{le="1"} 3', *EMPTY_HISTOGRAM),
    ),
    Body(
        "new-buckets-unsorted-and-falling",
        HISTOGRAM + 'm_bucket{le="+Inf"} 3\nm_bucket{le="1"} 5\nm_count 9\n',
        ok('m_bucket{le="+Inf"} 3', 'm_bucket{le="1"} 5', "m_sum 0", "m_count 9"),
    ),
    Body(
        "new-negative-bucket",
        HISTOGRAM + 'm_bucket{le="+Inf"} -2\n',
        bad("negative bucket population"),
        old=ok('m_bucket{le="+Inf"} 1.8446744073709552e+19', "m_sum 0", "m_count 0"),
    ),
    Body(
        "new-negative-count",
        HISTOGRAM + "m_count -1\n",
        bad("negative count"),
        old=ok(
            *('m_bucket{le="+Inf"} 1.8446744073709552e+19', "m_sum 0"),
            "m_count 1.8446744073709552e+19",
        ),
    ),
    Body(
        "new-nan-bucket",
        HISTOGRAM + 'm_bucket{le="+Inf"} NaN\n',
        ok('m_bucket{le="+Inf"} NaN', "m_sum 0", "m_count 0"),
        old=ok('m_bucket{le="+Inf"} 9.223372036854776e+18', "m_sum 0", "m_count 0"),
    ),
    Body(
        "new-fractional-counts",
        HISTOGRAM + 'm_bucket{le="+Inf"} 1.5\nm_sum 3\nm_count 1.5\n',
        ok('m_bucket{le="+Inf"} 1.5', "m_sum 3", "m_count 1.5"),
        old=ok('m_bucket{le="+Inf"} 1', "m_sum 3", "m_count 1"),
    ),
    Body(
        "new-64-bit-sums",
        HISTOGRAM + "m_sum 18446744073709551615\nm_count 9007199254740993\n",
        ok(
            *('m_bucket{le="+Inf"} 9.007199254740992e+15', "m_sum 1.8446744073709552e+19"),
            "m_count 9.007199254740992e+15",
        ),
    ),
    Body("new-histogram-of-bare-name", HISTOGRAM + "m 5\n", ok(*EMPTY_HISTOGRAM)),
    Body(
        "new-histogram-then-its-count",
        HISTOGRAM + "m_count 1\n# TYPE m_count gauge\nm_count 7\n",
        bad('second TYPE line for metric name "m"'),
    ),
    Body(
        "new-count-then-its-histogram",
        "# TYPE m_count gauge\nm_count 7\n" + HISTOGRAM + 'm_bucket{le="+Inf"} 1\n',
        inconsistent("collides with previously collected"),
    ),
    Body(
        "new-created-beside-histogram",
        HISTOGRAM + "m_count 1\n# TYPE m_created gauge\nm_created 7\n",
        ok('m_bucket{le="+Inf"} 1', "m_sum 0", "m_count 1", "m_created 7"),
    ),
    Body(
        "new-gauge-histogram",
        '# TYPE m gaugehistogram\nm_bucket{le="+Inf"} 1\n',
        ok('m_bucket{le="+Inf"} 1', "m_sum 0", "m_count 0"),
        old=bad("unknown metric type"),
    ),
    # Summaries
    Body("new-quantile-not-a-number", SUMMARY + 'm{quantile="x"} 1\n', bad("expected float")),
    Body("new-quantile-nan", SUMMARY + 'm{quantile="NaN"} 1\n', ok("m_sum 0", "m_count 0")),
    Body(
        "new-quantiles-equal-or-out-of-range",
        SUMMARY + 'm{quantile="0.5"} 1\nm{quantile="0.50"} 2\nm{quantile="7"} 3\n',
        ok(
            *('m{quantile="0.5"} 1', 'm{quantile="0.5"} 2', 'm{quantile="7"} 3'),
            *("m_sum 0", "m_count 0"),
        ),
    ),
    Body("new-summary-count-truncated", SUMMARY + "m_count 1.5\n", ok("m_sum 0", "m_count 1")),
    Body(
        "new-bucket-beside-summary",
        "# TYPE m_bucket gauge\nm_bucket 7\n" + SUMMARY + "m_count 2\n",
        ok("m_sum 0", "m_count 2", "m_bucket 7"),
    ),
    # The gateway's own
    Body(
        "09-type-of-own-metric",
        "# TYPE pushgateway_build_info counter\npushgateway_build_info 1\n",
        inconsistent("pushgateway_build_info"),
    ),
    Body(
        "09-type-of-go-metric",
        "# TYPE go_goroutines counter\ngo_goroutines 1\n",
        inconsistent("go_goroutines has type COUNTER but should have GAUGE"),
        embedded=ok("go_goroutines 1"),
    ),
    Body("09-own-metric-of-own-type", "# TYPE go_info gauge\ngo_info 1\n", ok("go_info 1")),
]


@pytest.mark.parametrize("case", BODIES, ids=lambda case: case.id)
def test_a_body_is_taken_or_refused(gateway, case):
    case.outcome_on(gateway.kind).holds(gateway, put(gateway, JOB, case.body))


# -- Which paths name which group ----------------------------------------------------------------


@dataclass(frozen=True)
class Path:
    id: str
    target: str
    status: int = 200
    labels: dict[str, str] = field(default_factory=dict)  # beside job x
    reason: str = ""
    location: str | None = None


PATHS = [
    Path("12-empty-job", "/metrics/job@base64/=", 400, reason="job name is required"),
    Path("12-no-job", "/metrics/job/", 307, location="/metrics/job"),
    Path("12-no-job-base64", "/metrics/job@base64/", 404),
    Path("12-no-job-no-slash", "/metrics/job", 404),
    Path("12-metrics", "/metrics", 405),
    Path("12-nowhere", "/foo", 404),
    Path("13-base64", "/metrics/job/x/k@base64/YWI=", labels={"k": "ab"}),
    Path("13-base64-unpadded", "/metrics/job/x/k@base64/YWI", labels={"k": "ab"}),
    Path("13-base64-padding-escaped", "/metrics/job/x/k@base64/YQ%3D%3D", labels={"k": "a"}),
    Path("13-base64-urlsafe", "/metrics/job/x/k@base64/Pz8_Lz4-Pg==", labels={"k": "???/>>>"}),
    Path("13-base64-job", "/metrics/job@base64/eA=="),
    Path("13-empty-base64", "/metrics/job/x/k@base64/=", labels={"k": ""}),
    Path("13-empty-trailing-slash", "/metrics/job/x/k/", labels={"k": ""}),
    Path("13-trailing-slash-after-job", "/metrics/job/x/"),
    Path("13-bad-base64", "/metrics/job/x/k@base64/!!", 400, reason="invalid base64 encoding"),
    Path("13-base64-too-short", "/metrics/job/x/k@base64/Y", 400, reason="invalid base64 encoding"),
    Path("13-base64-goes-on", "/metrics/job/x/k@base64/YQ=YQ", 400, reason="invalid base64"),
    Path("14-odd", "/metrics/job/x/k", 400, reason="odd number of components"),
    Path("14-odd-trailing-slash", "/metrics/job/x/k/v/", 400, reason="odd number of components"),
    Path("14-slash-in-value", "/metrics/job/x/k/a%2Fb", 400, reason="odd number of components"),
    Path("14-slash-in-job", "/metrics/job/x%2Fk/v", labels={"k": "v"}),
    Path("15-dash", "/metrics/job/x/b-c/1", 400, reason='improper label name "b-c"'),
    Path("15-digit", "/metrics/job/x/1x/1", 400, reason='improper label name "1x"'),
    Path("15-reserved", "/metrics/job/x/__x/1", 400, reason='improper label name "__x"'),
    Path("15-no-name", "/metrics/job/x/@base64/YQ", 400, reason='improper label name ""'),
    Path("15-utf8-name", "/metrics/job/x/%C3%A9/1", 400, reason="improper label name"),
    Path("15-job-twice", "/metrics/job/x/job/y"),
    Path("15-label-twice", "/metrics/job/x/k@base64/dg/k/w", labels={"k": "w"}),
    Path("16-plus", "/metrics/job/x/k/a+b%2B", labels={"k": "a+b+"}),
    Path("16-space", "/metrics/job/x/k/a%20b", labels={"k": "a b"}),
    Path("16-query-ignored", "/metrics/job/x/k/a?b=c", labels={"k": "a"}),
    Path("16-utf8", "/metrics/job/x/k/%E2%82%AC", labels={"k": "\u20ac"}),
    Path(
        "16-ascii-raw",
        "/metrics/job/x/k/~:@!$&'()*,;=|\"<>^`{}",
        labels={"k": "~:@!$&'()*,;=|\"<>^`{}"},
    ),
    Path("16-bad-percent", "/metrics/job/x/k/%zz", 400, reason="400 Bad Request"),
    Path("17-slashes", "/metrics/job/x//k", 301, location="/metrics/job/x/k"),
    Path("17-leading-slashes", "//metrics/job/x", 301, location="/metrics/job/x"),
    Path("17-slashes-escaped", "/metrics/job/x/k/a%2F%2Fb", 301, location="/metrics/job/x/k/a/b"),
    Path("17-dots-job", "/metrics/job/..", 301, location="/metrics"),
    Path("17-dots", "/metrics/job/x/k/..", 301, location="/metrics/job/x"),
    Path("17-dots-and-slash", "/metrics/job/x/k/../", 301, location="/metrics/job/x/"),
    Path("17-dots-escaped", "/metrics/job/x/k/%2e%2e", 301, location="/metrics/job/x"),
    Path("17-dot", "/metrics/job/x/k/.", 301, location="/metrics/job/x/k"),
    Path("17-dots-base64", "/metrics/job/x/k@base64/Li4=", labels={"k": ".."}),
    Path("17-three-dots", "/metrics/job/x/k/...", labels={"k": "..."}),
    Path("18-900-kB", f"/metrics/job/x/k/{'v' * 900_000}", labels={"k": "v" * 900_000}),
    Path("18-1.1-MB", f"/metrics/job/x/k/{'v' * 1_100_000}", 431),
    Path("22-flag-off", "/metrics/job/x/U__foo_2e_bar/v", labels={"U__foo_2e_bar": "v"}),
    Path("new-controls", "/metrics/job/x/k/%00%01%0A%7f", labels={"k": "\x00\x01\n\x7f"}),
    Path("new-instance-empty", "/metrics/job/x/instance@base64/=", labels={"instance": ""}),
    Path("new-le", "/metrics/job/x/le/1", labels={"le": "1"}),
]


@pytest.mark.parametrize("case", PATHS, ids=lambda case: case.id)
def test_a_path_names_a_group(gateway, case):
    answer = put(gateway, case.target, "m 1\n")
    assert answer.status == case.status
    assert case.reason in answer.text
    assert answer.headers.get("Location") == case.location
    groups = [{"job": "x", **case.labels}] if case.status == 200 else []
    assert labels_of(gateway) == groups


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
def test_17_paths_are_the_same_for_every_method(gateway, method):
    answer = gateway.exchange(method, "/metrics/job/x/k/..?q=1", "")
    assert (answer.status, answer.headers["Location"]) == (301, "/metrics/job/x?q=1")
    answer = gateway.exchange(method, "/metrics/job/x/k", "")
    assert (answer.status, "odd number of components" in answer.text) == (400, True)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PATCH", "put", "Post"])
def test_new_other_methods_on_a_group(gateway, method):
    answer = gateway.exchange(method, JOB)
    assert (answer.status, answer.headers["Allow"]) == (405, "DELETE, OPTIONS, POST, PUT")


# -- What a push changes -------------------------------------------------------------------------


def test_02_05_delete_takes_exactly_one_group(gateway):
    put(gateway, JOB, "m 1\n")
    put(gateway, "/metrics/job/x/k/v", "m 2\n")
    assert gateway.exchange("DELETE", JOB).status == 202
    put(gateway, "/metrics/job/later")  # pushes wait for the deletes before them
    assert samples(gateway) == ['m{k="v"} 2']
    assert gateway.exchange("DELETE", "/metrics/job/never").status == 202


def test_03_put_replaces_the_group_and_post_the_families(gateway):
    put(gateway, JOB, 'a 1\nb{k="1"} 1\n')
    gateway.exchange("POST", JOB, 'b{k="2"} 1\n')
    assert samples(gateway) == ["a 1", 'b{k="2"} 1']
    put(gateway, JOB, 'b{k="3"} 1\n')
    assert samples(gateway) == ['b{k="3"} 1']


def test_04_an_empty_post_is_a_heartbeat_and_an_empty_put_clears(gateway):
    put(gateway, JOB, "m 1\n")
    first, _ = push_times(gateway)
    assert gateway.exchange("POST", JOB, "").status == 200
    second, _ = push_times(gateway)
    assert samples(gateway) == ["m 1"]
    assert put(gateway, JOB, "").status == 200
    third, failed = push_times(gateway)
    assert samples(gateway) == []
    assert first < second < third
    assert failed == 0


def test_07_a_refused_push_leaves_a_failure_time(gateway):
    put(gateway, JOB, "m 1 1\n")
    succeeded, failed = push_times(gateway)
    assert succeeded == 0
    assert abs(failed - time.time()) < 60
    assert [group["last_push_successful"] for group in gateway.groups()] == [False]
    # The next success keeps the failure's time, and a failure what the group had.
    put(gateway, JOB, "m 2\n")
    assert push_times(gateway)[1] == failed
    assert [group["last_push_successful"] for group in gateway.groups()] == [True]
    put(gateway, JOB, "m 3 1\n")
    assert samples(gateway) == ["m 2"]
    assert push_times(gateway)[1] > failed


def test_09_a_type_is_everyones(gateway):
    put(gateway, JOB, "# TYPE m gauge\nm 1\n")
    answer = put(gateway, "/metrics/job/y", "# TYPE m counter\nm 1\n")
    assert answer.status == 400
    assert "is not a" in answer.text
    # Its only owner may change it.
    assert put(gateway, JOB, "# TYPE m counter\nm 1\n").status == 200
    assert put(gateway, "/metrics/job/y", "# TYPE m counter\nm 1\n").status == 200


def test_new_help_may_differ_between_groups(gateway):
    put(gateway, JOB, "# HELP m one\nm 1\n")
    assert put(gateway, "/metrics/job/y", "# HELP m two\nm 1\n").status == 200
    scrape = gateway.exchange("GET", "/metrics").text
    assert len(re.findall("# HELP m (?:one|two)\n", scrape)) == 1


@pytest.mark.parametrize(
    ("owner", "suffix", "status"),
    [
        ("histogram", "_count", 400),
        ("histogram", "_sum", 400),
        ("histogram", "_bucket", 400),
        ("summary", "_count", 400),
        ("summary", "_sum", 400),
        ("summary", "_bucket", 200),
        ("gauge", "_count", 200),
    ],
)
def test_new_a_histogram_owns_its_suffixes_in_all_groups(gateway, owner, suffix, status):
    one = (JOB, f"# TYPE m {owner}\nm 1\n")
    other = ("/metrics/job/y", f"# TYPE m{suffix} gauge\nm{suffix} 1\n")
    for first, second in ((one, other), (other, one)):
        gateway.wipe()
        put(gateway, *first)
        answer = put(gateway, *second)
        assert answer.status == status
        assert ("collides with previously collected" in answer.text) == (status == 400)


def test_10_grouping_labels_overwrite_and_so_make_duplicates(gateway):
    body = 'm{instance="a"} 1\nm{instance="b"} 1\n'
    answer = put(gateway, "/metrics/job/x/instance/i", body)
    assert answer.status == 400
    assert "collected before with the same name and label values" in answer.text
    assert put(gateway, JOB, body).status == 200


def test_new_a_label_as_the_grouping_label_is_stored_once(gateway):
    text = 'g{k="v",a="b"} 1\n' + HISTOGRAM + 'm_bucket{le="+Inf",k="v"} 1\nm_count{k="v"} 1\n'
    assert put(gateway, "/metrics/job/x/k/v", text).status == 200
    bucket, total, count = ('m_bucket{k="v",le="+Inf"} 1', 'm_sum{k="v"} 0', 'm_count{k="v"} 1')
    assert samples(gateway) == ['g{a="b",k="v"} 1', bucket, total, count]


def test_new_halves_of_a_distribution_with_and_without_a_grouping_label(gateway):
    text = HISTOGRAM + 'm_bucket{le="+Inf",k="v"} 1\nm_count 1\n'
    answer = put(gateway, "/metrics/job/x/k/v", text)
    assert answer.status == 400
    assert "collected before with the same name and label values" in answer.text


@pytest.mark.parametrize("text", [HISTOGRAM + "m_%s{le=%s} 1\n", SUMMARY + "m_%s{quantile=%s} 1\n"])
@pytest.mark.parametrize("end", ["count", "sum"])
def test_new_bounds_on_counts_and_sums(gateway, text, end):
    assert put(gateway, JOB, text % (end, '"x"')).status == 400
    assert put(gateway, JOB, text % (end, '"1"')).status == 200
    assert f"m_{end} 1" in samples(gateway)  # the label is lost


def test_10_duplicates_across_groups(gateway):
    put(gateway, JOB, 'm{k="v"} 1\n')
    answer = put(gateway, "/metrics/job/x/k/v", "m 2\n")
    assert answer.status == 400
    assert "collected before with the same name and label values" in answer.text


def test_new_an_empty_grouping_value_is_another_group(gateway):
    put(gateway, JOB, "m 1\n")
    assert put(gateway, "/metrics/job/x/k@base64/=", "m 2\n").status == 200
    # To Prometheus both are one series.
    assert samples(gateway) == ["m 1", 'm{k=""} 2']


def test_11_no_instance_is_exported_empty(gateway):
    put(gateway, "/metrics/job/x", "m 1\n")
    put(gateway, "/metrics/job/x/instance/i", "m 1\n")
    scrape = gateway.exchange("GET", "/metrics").text
    assert 'm{instance="",job="x"} 1\n' in scrape
    assert 'm{instance="i",job="x"} 1\n' in scrape
    assert 'push_time_seconds{instance="",job="x"} 1.' in scrape
    assert 'push_failure_time_seconds{instance="i",job="x"} 0\n' in scrape


def test_new_grouping_labels_named_as_the_special_ones(gateway):
    answer = put(gateway, "/metrics/job/x/quantile/9", SUMMARY + 'm{quantile="0.5"} 1\n')
    assert answer.status == 400
    assert 'must not have an explicit "quantile" label' in answer.text
    # Taken, though no scraper can read it: the label is there twice.
    put(gateway, "/metrics/job/x/le/9", HISTOGRAM + 'm_bucket{le="+Inf"} 1\n')
    assert samples(gateway)[0] == 'm_bucket{le="9",le="+Inf"} 1'


@pytest.mark.parametrize("name", ["push_time_seconds", "push_failure_time_seconds"])
@pytest.mark.parametrize("type_", ["gauge", "counter"])
def test_new_pushed_push_times_are_dropped_from_a_new_group(gateway, name, type_):
    assert put(gateway, JOB, f"# TYPE {name} {type_}\n{name} 5\n").status == 200
    succeeded, failed = push_times(gateway)
    assert succeeded > 1e9
    assert failed == 0


def test_new_a_pushed_failure_time_replaces_an_existing_groups(gateway):
    put(gateway, JOB)
    body = "# TYPE push_failure_time_seconds gauge\npush_failure_time_seconds 5\n"
    assert put(gateway, JOB, body).status == 200
    assert push_times(gateway)[1] == (0 if gateway.kind == EMBEDDED else 5)


def test_new_a_pushed_failure_counter_locks_new_groups_out(fresh_gateway):
    put(fresh_gateway, JOB)
    body = "# TYPE push_failure_time_seconds counter\npush_failure_time_seconds 5\n"
    assert put(fresh_gateway, JOB, body).status == 200
    answer = put(fresh_gateway, "/metrics/job/y", "m 1\n")
    assert answer.status == (200 if fresh_gateway.kind == EMBEDDED else 400)


# -- Encodings -----------------------------------------------------------------------------------

GZIP = gzip.compress(b"m 1\n")


@pytest.mark.parametrize(
    ("encoding", "body", "reason"),
    [
        pytest.param("gzip", GZIP, None, id="19-gzip"),
        pytest.param("gzip", GZIP + gzip.compress(b"n 1\n"), None, id="19-two-members"),
        pytest.param("gzip", b"", "EOF", id="19-empty"),
        pytest.param("gzip", b"text, not gzip\n", "gzip: invalid header", id="19-not-gzip"),
        pytest.param("zstd", b"m 1\n", None, id="19-unknown-is-ignored"),
        pytest.param("gzip, identity", b"m 1\n", None, id="19-list-is-ignored"),
        pytest.param("zstd", GZIP, "text format parsing error", id="19-unknown-is-read-raw"),
    ],
)
def test_encodings(gateway, encoding, body, reason):
    answer = put(gateway, JOB, body, Content_Encoding=encoding)
    assert answer.status == (200 if reason is None else 400)
    assert (reason or "") in answer.text
    assert ("m 1" in samples(gateway)) == (reason is None)


def test_new_an_encoding_in_capitals(gateway):
    answer = put(gateway, JOB, GZIP, Content_Encoding="GZIP")
    assert answer.status == (400 if gateway.is_old else 200)


def test_19_gzip_cut_short(gateway):
    # 1.5.1 stops at the text's end and never sees that the checksum is missing.
    answer = put(gateway, JOB, GZIP[:-4], Content_Encoding="gzip")
    assert answer.status == (200 if gateway.is_old else 400)


def test_19_an_empty_delete_with_a_gzip_header(gateway):
    answer = gateway.exchange("DELETE", JOB, Content_Encoding="gzip")
    assert (answer.status, answer.text) == (400, "EOF\n")


@pytest.mark.parametrize(
    ("body", "accepted"),
    [
        pytest.param(SNAPPY, True, id="19-framed"),
        pytest.param(snappy.compress(b"m 1\n"), False, id="19-raw-block"),
        pytest.param(SNAPPY[:-1], False, id="19-cut-short"),
    ],
)
def test_snappy(gateway, body, accepted):
    answer = put(gateway, JOB, body, Content_Encoding="snappy")
    if gateway.is_old:  # since 1.6.0
        assert (answer.status, "invalid metric name" in answer.text) == (400, True)
    elif accepted:
        assert (answer.status, samples(gateway)) == (200, ["m 1"])
    else:
        assert (answer.status, answer.text) == (400, "snappy: corrupt input\n")


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain; version=0.0.4; charset=utf-8",
        "application/json",
        "application/openmetrics-text; version=1.0.0",
        "application/vnd.google.protobuf",
        PROTOBUF.replace("delimited", "text"),
    ],
)
def test_20_all_but_protobuf_is_text(gateway, content_type):
    assert put(gateway, JOB, "m 1\n", Content_Type=content_type).status == 200
    assert samples(gateway) == ["m 1"]


def test_21_protobuf_is_taken_but_by_the_embedded_one(gateway):
    def message(number, content):
        return bytes([number << 3 | 2, len(content)]) + content

    value = b"\x09" + struct.pack("<d", 7.0)
    family = message(1, b"m") + b"\x18\x01" + message(4, message(2, value))  # GAUGE
    answer = put(gateway, JOB, bytes([len(family)]) + family, Content_Type=PROTOBUF)
    if gateway.kind == EMBEDDED:
        assert (answer.status, "protobuf" in answer.text) == (415, True)
    else:
        assert (answer.status, samples(gateway)) == (200, ["m 7"])


# -- HTTP ----------------------------------------------------------------------------------------


def test_new_a_connection_is_kept_alive_over_errors(gateway):
    with closing(http.client.HTTPConnection(*address(gateway))) as connection:
        connection.connect()
        first = connection.sock
        for target, status in ((JOB, 200), ("/metrics/job/x/k", 400), ("/foo", 404), (JOB, 200)):
            connection.request("PUT", target, b"m 1\n")
            response = connection.getresponse()
            response.read()
            assert (response.status, connection.sock is first) == (status, True)


def test_new_a_chunked_body(gateway):
    with closing(http.client.HTTPConnection(*address(gateway))) as connection:
        for body in ([b"m ", b"1\n"], [b"m 2\n"]):
            connection.request("PUT", JOB, iter(body), encode_chunked=True)
            response = connection.getresponse()
            assert (response.status, response.read()) == (200, b"")
    assert samples(gateway) == ["m 2"]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        pytest.param(b"PUT /metrics/job/x HTTP/1.0\r\n\r\n", b"200 OK", id="http-1.0"),
        pytest.param(b"PUT /metrics/job/x HTTP/1.1\r\n\r\n", b"400 Bad Request", id="no-host"),
        pytest.param(b"nonsense\r\n\r\n", b"400 Bad Request", id="nonsense"),
        pytest.param(
            b"PUT /metrics/job/x HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n",
            b"400 Bad Request",
            id="length-not-a-number",
        ),
    ],
)
def test_new_then_the_connection_is_closed(gateway, request_, status):
    with socket.create_connection(address(gateway), timeout=10) as connection:
        connection.sendall(request_)
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.split(b"\r\n")[0].split(b" ", 1)[1].startswith(status)


# -- Reading back --------------------------------------------------------------------------------


def test_api_v1_metrics(gateway):
    put(
        gateway,
        "/metrics/job/x/k/v",
        "# HELP h a \\\\ histogram\n# TYPE h histogram\n"
        'h_bucket{le="0.5"} 1\nh_bucket{le="+Inf"} 2\nh_sum 3.5\nh_count 2\n'
        '# TYPE s summary\ns{quantile="0.5"} NaN\ns_sum 1e6\ns_count 3\n'
        '# TYPE c_total counter\nc_total{a="1"} 5\n# TYPE g gauge\ng -0\nu +Inf\n',
    )
    (group,) = gateway.groups()
    own = {"instance": "", "job": "x", "k": "v"}
    families = [value for value in group.values() if isinstance(value, dict) and "type" in value]
    stamps = {family.pop("time_stamp") for family in families}
    assert [bool(RFC3339.fullmatch(stamp)) for stamp in stamps] == [True]
    pushed_at = group["push_time_seconds"]["metrics"][0].pop("value")
    assert abs(float(pushed_at) - time.time()) < 60
    when = "Last Unix time when changing this group in the Pushgateway"
    assert group == {
        "labels": {"job": "x", "k": "v"},
        "last_push_successful": True,
        "push_time_seconds": {
            "type": "GAUGE",
            "help": f"{when} succeeded.",
            "metrics": [{"labels": own}],
        },
        "push_failure_time_seconds": {
            "type": "GAUGE",
            "help": f"{when} failed.",
            "metrics": [{"labels": own, "value": "0"}],
        },
        "h": {
            "type": "HISTOGRAM",
            "help": "a \\ histogram",
            "metrics": [
                {"labels": own, "buckets": {"0.5": "1", "+Inf": "2"}, "sum": "3.5", "count": "2"}
            ],
        },
        "s": {
            "type": "SUMMARY",
            "metrics": [{"labels": own, "quantiles": {"0.5": "NaN"}, "sum": "1e+06", "count": "3"}],
        },
        "c_total": {"type": "COUNTER", "metrics": [{"labels": {**own, "a": "1"}, "value": "5"}]},
        "g": {"type": "GAUGE", "metrics": [{"labels": own, "value": "-0"}]},
        "u": {"type": "UNTYPED", "metrics": [{"labels": own, "value": "+Inf"}]},
    }


def test_a_scrape(gateway):
    put(gateway, "/metrics/job/x/k/v", "# HELP g a \\\\\\n b\n# TYPE g gauge\ng 1\nu 2\n")
    answer = gateway.exchange("GET", "/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4; charset=utf-8")
    assert '# HELP g a \\\\\\n b\n# TYPE g gauge\ng{instance="",job="x",k="v"} 1\n' in answer.text
    assert '# TYPE u untyped\nu{instance="",job="x",k="v"} 2\n' in answer.text
    assert "\npushgateway_build_info{" in answer.text


@pytest.mark.parametrize("target", ["/-/ready", "/-/healthy"])
def test_health(gateway, target):
    answer = gateway.exchange("GET", target)
    assert (answer.status, answer.text) == (200, "OK")
    assert gateway.exchange("POST", target).status == 405


def test_status(gateway):
    answer = gateway.exchange("GET", "/api/v1/status")
    assert answer.headers["Content-Type"] == "application/json"
    version = re.search(r'"version": ?"(\d+)\.(\d+)\.(\d+)"', answer.text)
    assert version
    assert (int(version[1]), int(version[2])) >= ((1, 5) if gateway.is_old else (1, 11))
    assert '"status": "success"' in answer.text.replace('":"', '": "')


# -- What breaks a gateway for everyone ----------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "poison"),
    [
        pytest.param(None, "/metrics/job/x/k/%FF", id="23-value-not-utf8"),
        pytest.param(None, "/metrics/job/x/k@base64/_w==", id="23-base64-not-utf8"),
        pytest.param(None, "/metrics/job/%FF", id="23-job-not-utf8"),
        pytest.param(JOB, "/metrics/job/x/instance@base64/=", id="new-instance-empty-beside-none"),
        pytest.param("/metrics/job/x/instance@base64/=", JOB, id="new-none-beside-instance-empty"),
    ],
)
def test_a_poisonous_group_is_refused_but_kept(fresh_gateway, before, poison):
    if before:
        assert put(fresh_gateway, before, "m 1\n").status == 200
    assert put(fresh_gateway, poison, "m 2\n").status == 400
    others = put(fresh_gateway, "/metrics/job/other", "n 1\n").status
    scrape = fresh_gateway.exchange("GET", "/metrics").status
    if fresh_gateway.kind == EMBEDDED:  # on purpose
        assert (others, scrape) == (200, 200)
        return
    assert (others, scrape) == (400, 500)
    fresh_gateway.exchange("DELETE", poison)
    assert put(fresh_gateway, "/metrics/job/other", "n 1\n").status == 200
    assert fresh_gateway.exchange("GET", "/metrics").status == 200
