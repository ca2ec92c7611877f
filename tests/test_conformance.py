"""The embedded gateway does what a real Pushgateway 1.11.2 does, request by request, in raw HTTP.

Both get the same requests. They must answer alike, and then show the same groups and samples. Where
the embedded one differs on purpose (its docstring says why), a test says how.
"""

import gzip
import http.client
import re
import socket
import struct
from contextlib import closing
from urllib.parse import urlsplit

import pytest
import snappy

from support.gateways import EMBEDDED, NEW, open_gateway

pytestmark = pytest.mark.end_to_end

JOB, OTHER = "/metrics/job/x", "/metrics/job/y"
PROTOBUF = (
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
)
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


class Both:
    """A real gateway and the embedded one, without groups; each request goes to both."""

    def __init__(self, *gateways):
        self._gateways = gateways
        for gateway in gateways:
            gateway.wipe()

    def exchange(self, method, target, body=None, **headers):
        """The answer, which is the same."""
        answers = [g.exchange(method, target, body, **headers) for g in self._gateways]
        real, embedded = map(visible, answers)
        assert embedded == real, answers
        return answers[0]

    def shows(self):
        """The groups by the API and the samples of a scrape, which are the same."""
        real, embedded = ((groups_of(gateway), scrape_of(gateway)) for gateway in self._gateways)
        assert embedded == real
        return real

    def run(self, *requests):
        """Send these and look after each."""
        for method, target, body in requests:
            self.exchange(method, target, body)
            self.shows()


def visible(answer):
    """What a client goes by: the status, where to go, and what is wrong, up to the details."""
    kept = ("Location", "Allow", "Content-Type")
    what = re.split(r'[:"]', answer.text)[0].strip()
    return answer.status, {name: answer.headers.get(name) for name in kept}, what


def groups_of(gateway):
    """Of /api/v1/metrics, with times as whether there is one."""
    groups = gateway.groups()
    for group in groups:
        for family in group.values():
            if isinstance(family, dict) and "time_stamp" in family:
                assert RFC3339.fullmatch(family.pop("time_stamp"))
        for name in ("push_time_seconds", "push_failure_time_seconds"):
            (metric,) = group[name]["metrics"]
            metric["value"] = float(metric["value"]) > 1e9
    return sorted(groups, key=lambda group: sorted(group["labels"].items()))


def scrape_of(gateway):
    """The samples of groups in /metrics, in any order, with the HELP and TYPE of each."""
    answer = gateway.exchange("GET", "/metrics")
    samples = []
    for family in re.findall(r"(?:^#.*\n)+(?:^[^#\n].*\n)*", answer.text, re.MULTILINE):
        lines = re.sub(r" 1\.\d+e\+09$", " now", family, flags=re.MULTILINE).splitlines()
        head = [line for line in lines if line.startswith("#")]
        samples += [(*head, line) for line in lines if re.search(r'[{,]job="', line)]
    return answer.status, answer.headers["Content-Type"].partition("; escaping")[0], sorted(samples)


@pytest.fixture(scope="module")
def gateways():
    with open_gateway(NEW) as real, open_gateway(EMBEDDED) as embedded:
        yield real, embedded


@pytest.fixture
def both(gateways):
    return Both(*gateways)


def put(body, target=JOB):
    return "PUT", target, body


def post(body, target=JOB):
    return "POST", target, body


def delete(target=JOB):
    return "DELETE", target, None


HISTOGRAM, SUMMARY = "# TYPE m histogram\n", "# TYPE m summary\n"
LONG = "v" * 300_000
BODIES = [
    # Lines
    *("m 1", "m 1\n \t", "m 1\r\n", "m 1 5\n", f"{HISTOGRAM}m_bucket 1 5\n", "m 1 \n"),
    *("1m 1\n", "a-b 1\n", 'm 1 # {a="b"} 1\n', "\ufeffm 1\n", "#\n# x\n\n  \n# EOF\nm 1\n"),
    *('\tm\t{ a = "1" , }\t1\n', "# TYPE m gauge\n", "", "\n"),
    # Names
    *(":a:b 1\n", 'm{a:b="1"} 1\n', "\u00e9 1\n"),
    # Labels
    *('m{job="y"} 1\n', 'm{instance="i"} 1\n', "m 1\nm 2\n", 'm{a=""} 1\nm 2\n'),
    *('m{a="1",b="2"} 1\nm{b="2",a="1"} 2\n', 'm{__x="1"} 1\n', 'm{__name__="n"} 1\n'),
    *('m{a="1",a="2"} 1\n', r'm{a="x\ny\\z\"q"} 1' + "\n", 'm{a="x\\ty"} 1\n', 'm{a="x\ny"} 1\n'),
    *('m{a="\x00\x01\t\x7f"} 1\n', b'm{a="\xff"} 1\n', f'm{{a="{LONG}"}} 1\n'),
    'm{le="1"} 1\nm{le="1.0"} 1\n',
    # Values
    "a NaN\nb +Inf\nc -Inf\nd infinity\ne .5\nf 5.\ng +3\nh 1E5\ni 1e-400\nj -0\n",
    "a 999999.5\nb 1e6\nc 1234567.5\nd 0.0001\ne 0.000012345\nf 9007199254740993\ng -1e21\n"
    "h 1.7976931348623157e308\ni 5e-324\n",
    *(f"m {value}\n" for value in ("1e400", "-NaN", "+nan", "1_0", "0x10", "0x1p3", "\u0661", "")),
    "# TYPE m counter\nm -5\n",
    # HELP and TYPE
    *(f"# TYPE m {kind}\nm 1\n" for kind in ("unknown", "stateset", "info", "GAUGE", "gauge ")),
    *("m 1\n# TYPE m gauge\n", "m 1\n# HELP m h\n", "# HELP m h\n# HELP m h\nm 1\n"),
    *("# HELP m \n# HELP m\nm 1\n", "# HELP m \\t\nm 1\n", '# HELP m \\"\nm 1\n'),
    *(b"# HELP m \xff\nm 1\n", '# TYPE m gauge\nm{a="1"} 1\nn 1\nm{a="2"} 1\n'),
    '# TYPE m gauge\nm{a="1"} 1\nn 1\n# TYPE m gauge\nm{a="2"} 1\n',
    # Histograms
    f'{HISTOGRAM}m_bucket{{le="1"}} 2\nm_sum 3\nm_count 2\n',
    *(f'{HISTOGRAM}m_bucket{{le="{le}"}} 2\n' for le in ("x", "NaN")),
    f'{HISTOGRAM}m_bucket{{le="1"}} 2\nm_bucket{{le="1.0"}} 3\n',
    f'{HISTOGRAM}m_bucket{{le="+Inf"}} 3\nm_bucket{{le="1"}} 5\nm_count 9\n',
    *(f'{HISTOGRAM}m_bucket{{le="+Inf"}} {value}\n' for value in (-2, "NaN")),
    *(f"{HISTOGRAM}m_count -1\n", f"{HISTOGRAM}m 5\n"),
    f'{HISTOGRAM}m_bucket{{le="+Inf"}} 1.5\nm_sum 3\nm_count 1.5\n',
    f"{HISTOGRAM}m_sum 18446744073709551615\nm_count 9007199254740993\n",
    f"{HISTOGRAM}m_count 1\n# TYPE m_count gauge\nm_count 7\n",
    f'# TYPE m_count gauge\nm_count 7\n{HISTOGRAM}m_bucket{{le="+Inf"}} 1\n',
    f"{HISTOGRAM}m_count 1\n# TYPE m_created gauge\nm_created 7\n",
    '# TYPE m gaugehistogram\nm_bucket{le="+Inf"} 1\n',
    # Summaries
    *(f'{SUMMARY}m{{quantile="{quantile}"}} 1\n' for quantile in ("x", "NaN")),
    f'{SUMMARY}m{{quantile="0.5"}} 1\nm{{quantile="0.50"}} 2\nm{{quantile="7"}} 3\n',
    *(f"{SUMMARY}m_count 1.5\n", f"# TYPE m_bucket gauge\nm_bucket 7\n{SUMMARY}m_count 2\n"),
    *(
        f"# TYPE m {kind}\nm_{end}{{{label}={bound}}} 1\n"
        for kind, label in (("histogram", "le"), ("summary", "quantile"))
        for end in ("count", "sum")
        for bound in ('"x"', '"1"')
    ),
    # The gateway's own
    "# TYPE pushgateway_build_info counter\npushgateway_build_info 1\n",
]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:60]))
def test_a_body_is_taken_or_refused_alike(both, body):
    both.run(put(body))


NAMES_OF_GROUPS = [
    *("/metrics", "/foo", "/metrics/job", "/metrics/job/", "/metrics/job@base64/"),
    *("/metrics/job@base64/=", "/metrics/job@base64/eA==", f"{JOB}/", f"{JOB}%2Fk/v"),
    *(f"{JOB}/k@base64/{text}" for text in ("YWI=", "YWI", "YQ%3D%3D", "Pz8_Lz4-Pg==", "=")),
    *(f"{JOB}/k@base64/{text}" for text in ("!!", "Y", "YQ=YQ", "Li4=")),
    *(f"{JOB}/k{rest}" for rest in ("", "/", "/v/", "/a%2Fb", "/a+b%2B", "/a%20b", "/a?b=c")),
    *(f"{JOB}/k/{text}" for text in ("%E2%82%AC", "~:@!$&'()*,;=|\"<>^`{}", "%zz", "a%2F%2Fb")),
    *(f"{JOB}/k/{text}" for text in ("..", "../", "%2e%2e", ".", "...", "%00%01%0A%7f")),
    *(f"{JOB}/{name}/1" for name in ("b-c", "1x", "__x", "@base64", "%C3%A9", "job", "le")),
    *(
        f"{JOB}/k@base64/dg/k/w",
        f"{JOB}//k",
        f"/{JOB}",
        "/metrics/job/..",
        f"{JOB}/U__foo_2e_bar/v",
    ),
    *(f"{JOB}/instance@base64/=", f"{JOB}/k/{LONG * 3}", f"{JOB}/k/{LONG * 4}"),
]


@pytest.mark.parametrize("target", NAMES_OF_GROUPS, ids=lambda target: target[:60])
def test_a_path_names_the_same_group(both, target):
    both.run(put("m 1\n", target))


CHANGES = ("PUT", "POST", "DELETE")
METHODS = [
    *((method, JOB) for method in (*CHANGES, "GET", "HEAD", "PATCH", "put", "Post")),
    *((method, f"{JOB}{rest}") for method in CHANGES for rest in ("/k", "/k/..?q=1")),
]


@pytest.mark.parametrize(("method", "target"), METHODS)
def test_a_method_is_known_or_not(both, method, target):
    both.exchange(method, target, "" if method in CHANGES else None)


def suffixes():
    """Families whose samples may be taken for another's, in this order and the other."""
    for owner in ("histogram", "summary", "gauge"):
        for suffix in ("_count", "_sum", "_bucket"):
            requests = (
                put(f"# TYPE m {owner}\nm 1\n"),
                put(f"# TYPE m{suffix} gauge\nm{suffix} 1\n", OTHER),
            )
            yield f"{owner}, {suffix}", requests
            yield f"{suffix}, {owner}", requests[::-1]


INSTANCES = 'm{instance="a"} 1\nm{instance="b"} 1\n'
FAILURE_TIME = "push_failure_time_seconds"
STORIES = {
    "a delete takes exactly one group": [
        *(put("m 1\n"), put("m 2\n", f"{JOB}/k/v"), delete(), put("", "/metrics/job/later")),
        *(delete("/metrics/job/never"), put("", "/metrics/job/later")),
    ],
    "a put replaces the group, a post the families": [
        *(put('a 1\nb{k="1"} 1\n'), post('b{k="2"} 1\n'), put('b{k="3"} 1\n')),
    ],
    "an empty post is a heartbeat, an empty put clears": [put("m 1\n"), post(""), put("")],
    "a refused push leaves a failure time": [
        *(put("m 1 1\n"), put("m 2\n"), put("m 3 1\n"), put("m 4\n")),
    ],
    "a type is everyone's, and its only owner may change it": [
        *(put("# TYPE m gauge\nm 1\n"), put("# TYPE m counter\nm 1\n", OTHER)),
        *(put("# TYPE m counter\nm 1\n"), put("# TYPE m counter\nm 1\n", OTHER)),
    ],
    "grouping labels overwrite, and so make duplicates": [
        *(put(INSTANCES, f"{JOB}/instance/i"), put(INSTANCES)),
    ],
    "a label that is the grouping label is stored once": [
        put(
            f'g{{k="v",a="b"}} 1\n{HISTOGRAM}m_bucket{{le="+Inf",k="v"}} 1\nm_count{{k="v"}} 1\n',
            f"{JOB}/k/v",
        ),
    ],
    "halves of a distribution with and without a grouping label": [
        put(f'{HISTOGRAM}m_bucket{{le="+Inf",k="v"}} 1\nm_count 1\n', f"{JOB}/k/v"),
    ],
    "duplicates across groups": [put('m{k="v"} 1\n'), put("m 2\n", f"{JOB}/k/v")],
    "an empty grouping value is another group": [
        *(put("m 1\n"), put("m 2\n", f"{JOB}/k@base64/=")),
    ],
    "no instance is exported empty": [put("m 1\n"), put("m 1\n", f"{JOB}/instance/i")],
    "grouping labels named as the special ones": [
        put(f'{SUMMARY}m{{quantile="0.5"}} 1\n', f"{JOB}/quantile/9"),
        # Taken, though no scraper can read it: the label is there twice.
        put(f'{HISTOGRAM}m_bucket{{le="+Inf"}} 1\n', f"{JOB}/le/9"),
    ],
    **{
        f"a pushed {name} of a new group": [put(f"# TYPE {name} {kind}\n{name} 5\n")]
        for name in ("push_time_seconds", FAILURE_TIME)
        for kind in ("gauge", "counter")
    },
    "every type": [
        put(
            "# HELP h a \\\\ histogram\n# TYPE h histogram\n"
            'h_bucket{le="0.5"} 1\nh_bucket{le="+Inf"} 2\nh_sum 3.5\nh_count 2\n'
            '# TYPE s summary\ns{quantile="0.5"} NaN\ns_sum 1e6\ns_count 3\n'
            '# TYPE c_total counter\nc_total{a="1"} 5\n# TYPE g gauge\ng -0\nu +Inf\n',
            f"{JOB}/k/v",
        ),
    ],
    **dict(suffixes()),
}


@pytest.mark.parametrize("requests", STORIES.values(), ids=STORIES)
def test_a_story_ends_alike(both, requests):
    both.run(*requests)


GZIP = gzip.compress(b"m 1\n")
SNAPPY = snappy.StreamCompressor().compress(b"m 1\n")
ENCODED = {
    "gzip": ("gzip", GZIP),
    "two gzip members": ("gzip", GZIP + gzip.compress(b"n 1\n")),
    "gzip of nothing": ("gzip", b""),
    "gzip that is none": ("gzip", b"no gzip at all\n"),
    "gzip cut short": ("gzip", GZIP[:-4]),
    "GZIP": ("GZIP", GZIP),
    "gzip, identity": ("gzip, identity", b"m 1\n"),
    "zstd": ("zstd", b"m 1\n"),
    "zstd that is gzip": ("zstd", GZIP),
    "snappy": ("snappy", SNAPPY),
    "snappy without frames": ("snappy", snappy.compress(b"m 1\n")),
    "snappy cut short": ("snappy", SNAPPY[:-1]),
}


# A name for each: gzip's bytes contain the time, and xdist's workers must collect the same tests.
@pytest.mark.parametrize(("encoding", "body"), ENCODED.values(), ids=ENCODED)
def test_an_encoding_is_read_alike(both, encoding, body):
    both.exchange("PUT", JOB, body, Content_Encoding=encoding)
    both.exchange("DELETE", OTHER, Content_Encoding=encoding)
    both.shows()


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
def test_all_but_protobuf_is_text(both, content_type):
    both.exchange("PUT", JOB, "m 1\n", Content_Type=content_type)
    assert both.shows()[0]


@pytest.mark.parametrize("target", ["/-/ready", "/-/healthy"])
def test_health(both, target):
    assert both.exchange("GET", target).text == "OK"
    both.exchange("POST", target)


# On purpose


def gauge_message(value):
    def message(number, content):
        return bytes([number << 3 | 2, len(content)]) + content

    metric = message(4, message(2, b"\x09" + struct.pack("<d", value)))
    family = message(1, b"m") + b"\x18\x01" + metric  # GAUGE
    return bytes([len(family)]) + family


def test_protobuf_is_taken_by_the_real_one_alone(gateways, both):
    for gateway, status in zip(gateways, (200, 415), strict=True):
        answer = gateway.exchange("PUT", JOB, gauge_message(7.0), Content_Type=PROTOBUF)
        assert (answer.status, "protobuf" in answer.text) == (status, status == 415)
        assert len(gateway.groups()) == (status == 200)


def test_names_that_the_embedded_one_does_not_know(gateways, both):
    for body in ('{"m"} 1\n', "# TYPE go_goroutines counter\ngo_goroutines 1\n"):
        statuses = [gateway.exchange("PUT", OTHER, body).status for gateway in gateways]
        assert sorted(statuses) == [200, 400]


@pytest.mark.parametrize("kind", ["gauge", "counter"])
def test_a_pushed_failure_time_replaces_the_real_ones(fresh_gateway, kind):
    fresh_gateway.exchange("PUT", JOB, "")
    fresh_gateway.exchange("PUT", JOB, f"# TYPE {FAILURE_TIME} {kind}\n{FAILURE_TIME} 5\n")
    if kind == "gauge":
        (metric,) = fresh_gateway.groups()[0][FAILURE_TIME]["metrics"]
        assert float(metric["value"]) == (0 if fresh_gateway.kind == EMBEDDED else 5)
    else:  # and a counter locks new groups out
        status = fresh_gateway.exchange("PUT", OTHER, "m 1\n").status
        assert status == (200 if fresh_gateway.kind == EMBEDDED else 400)


@pytest.mark.parametrize(
    ("before", "poison"),
    [
        *(
            (None, target)
            for target in (f"{JOB}/k/%FF", f"{JOB}/k@base64/_w==", "/metrics/job/%FF")
        ),
        *((JOB, f"{JOB}/instance@base64/="), (f"{JOB}/instance@base64/=", JOB)),
    ],
)
def test_a_group_that_poisons_a_real_gateway_is_refused(fresh_gateway, before, poison):
    def push(target):
        return fresh_gateway.exchange("PUT", target, "m 1\n").status

    def state():
        return push(OTHER), fresh_gateway.exchange("GET", "/metrics").status

    assert before is None or push(before) == 200
    assert push(poison) == 400
    assert state() == ((200, 200) if fresh_gateway.kind == EMBEDDED else (400, 500))
    fresh_gateway.exchange("DELETE", poison)
    assert state() == (200, 200)


# HTTP


def address(gateway):
    parts = urlsplit(gateway.url)
    return parts.hostname or "", parts.port or 0


def test_a_connection_is_kept_alive_over_errors(gateway):
    with closing(http.client.HTTPConnection(*address(gateway))) as connection:
        connection.connect()
        first = connection.sock
        for target, status in ((JOB, 200), ("/metrics/job/x/k", 400), ("/foo", 404), (JOB, 200)):
            connection.request("PUT", target, b"m 1\n")
            response = connection.getresponse()
            response.read()
            assert (response.status, connection.sock is first) == (status, True)


def test_a_chunked_body(gateway):
    with closing(http.client.HTTPConnection(*address(gateway))) as connection:
        for body in ([b"m ", b"1\n"], [b"m 2\n"]):
            connection.request("PUT", JOB, iter(body), encode_chunked=True)
            response = connection.getresponse()
            assert (response.status, response.read()) == (200, b"")
    (metric,) = gateway.groups()[0]["m"]["metrics"]
    assert metric["value"] == "2"


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
def test_then_the_connection_is_closed(gateway, request_, status):
    with socket.create_connection(address(gateway), timeout=60) as connection:
        connection.sendall(request_)
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.split(b"\r\n")[0].split(b" ", 1)[1].startswith(status)
