"""The parser of the text format: as strict as a gateway, or one bad line costs that line."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pushgate import Gateway, GroupingKey, encode, parse_leniently, parse_text
from pushgate.embedded import EmbeddedGateway

KEY = GroupingKey("backup", {"origin": "job"})


def written(families):
    """The sample lines that are pushed."""
    lines = encode(families, KEY).text.decode().splitlines()
    return [line for line in lines if not line.startswith("#")]


def lenient(data):
    return parse_leniently(data, KEY, reserved_prefix="ours_")


def test_a_family_has_its_lines_wherever_they_stand():
    text = b"# TYPE s summary\n# HELP s S.\na 1\n# a remark\ns_sum 3\na{x='y'} 2\n".replace(
        b"'", b'"'
    )
    families = parse_text(text)
    assert {name: family.text for name, family in families.items()} == {
        "s": b"# TYPE s summary\n# HELP s S.\ns_sum 3\n",
        "a": b'a 1\na{x="y"} 2\n',
    }
    assert [(s.name, s.labels, s.value) for s in families["a"].samples] == [
        ("a", {}, 1.0),
        ("a", {"x": "y"}, 2.0),
    ]
    assert (families["s"].type, families["s"].documentation) == ("summary", "S.")


@given(
    st.dictionaries(st.sampled_from(["a", "_", "le", "x_9", "quantile"]), st.text(max_size=6)),
    st.floats(),
)
def test_lines_are_read_alike_however_they_are_written(labels, value):
    escaped = {
        name: text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
        for name, text in labels.items()
    }
    pairs = [f'{name}="{text}"' for name, text in escaped.items()]
    tight, wide = ",".join(pairs), " , ".join(pair.replace("=", " = ", 1) for pair in pairs)
    lines = f"m{{{tight}}} {value!r}\n", f"m {{ {wide} }} \t{value!r} 1\n"
    read = [parse_text(line.encode("utf-8", "replace"))["m"].samples[0] for line in lines]
    assert repr(read[0]) == repr(read[1]._replace(timestamp=None))


def test_an_error_has_the_line_and_the_reason():
    with pytest.raises(ValueError, match="in line 2: expected float as value"):
        parse_text(b"a 1\nb 1_0\n")


def test_one_malformed_line_costs_that_line_only():
    families, complaints = lenient(b"a 1\nrows loaded 42\nb 2\nc\n\n\nd 4")
    assert written(families) == ["a 1.0", "b 2.0", "d 4.0"]
    advice = "not a metric; write 'name value' or 'name{label=\"v\"} value'"
    assert complaints == [(2, f"{advice}: 'rows loaded 42'"), (4, f"{advice}: 'c'")]


def test_what_windows_does_to_files_is_undone():
    families, complaints = lenient(b"\xef\xbb\xbfa 1\r\nb 2\r\n\r\nc 3")
    assert (written(families), complaints) == (["a 1.0", "b 2.0", "c 3.0"], [])


def test_the_last_value_of_a_series_counts():
    text = b'x{a="1",b="2"} 1\nx 5\nx{b="2",a="1",c=""} 3\n# TYPE x gauge\nx{a="1",b="3"} 9\n'
    families, complaints = lenient(text)
    assert written(families) == ['x{a="1",b="2"} 3.0', "x 5.0", 'x{a="1",b="3"} 9.0']
    assert complaints == []


def test_a_whole_exposition_is_kept_with_its_types_and_help():
    text = (
        b"# HELP rows_total Rows \\\\ lines\\nloaded.\n# TYPE rows_total counter\nrows_total 7\n"
        b"# HELP t Time.\n# TYPE t histogram\n"
        b't_bucket{le="1"} 1\nt_bucket{le="+Inf"} 2\nt_sum 3\nt_count 2\n'
        b'# HELP s S.\n# TYPE s summary\ns{quantile="0.5"} 1\ns_sum 3\ns_count 2\n'
        b"# HELP free_bytes Free.\n# TYPE free_bytes gauge\nfree_bytes 1.5\n"
    )
    families, complaints = lenient(text)
    assert complaints == []
    pushed = parse_text(encode(families, KEY).text)
    assert {name: (f.type, f.documentation, f.samples) for name, f in pushed.items()} == {
        name: (f.type, f.documentation, f.samples) for name, f in parse_text(text).items()
    }


def test_a_counter_is_called_what_the_job_called_it_and_the_rest_are_gauges():
    text = b"# TYPE a counter\na 1\n# TYPE b counter\n# HELP b Bs.\nb_total 2\nc 3\n"
    families, complaints = lenient(text)
    assert complaints == []
    assert encode(families, KEY).text.decode() == (
        "# HELP a \n# TYPE a untyped\na 1.0\n# HELP b_total Bs.\n# TYPE b_total counter\n"
        "b_total 2.0\n# HELP c \n# TYPE c gauge\nc 3.0\n"
    )


def test_timestamps_are_dropped_with_one_complaint():
    families, complaints = lenient(b"a 1 1700000000000\nb 2\nc 3 1700000000000\n")
    assert written(families) == ["a 1.0", "b 2.0", "c 3.0"]
    assert complaints == [(1, "timestamps are dropped, here and below: a Pushgateway refuses them")]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"ours_last_exit_code 0", "the name ours_last_exit_code is reserved"),
        (b"push_time_seconds 1", "the name push_time_seconds is reserved"),
        (b"push_failure_time_seconds 1", "the name push_failure_time_seconds is reserved"),
        (b'rows{job="x"} 1', "the label job is in the grouping key"),
        (b'rows{origin=""} 1', "the label origin is in the grouping key"),
        (b'rows{__x="1"} 1', "not a label name"),
        (b'{"my.rows"} 1', "not a metric"),
        (b'rows{"my.label"="x"} 1', "not a metric"),
        (b"rows 1\0", "not a metric"),
        (b"rows\xff 1", "not valid UTF-8"),
        (b'rows{a="\xed\xa0\x80"} 1', "not valid UTF-8"),
        (b"rows " + b"9" * 400, "not a metric"),
        (b"# TYPE rows rate", "a type must be one of counter, gauge"),
        (b"# TYPE rows", "a type must be one of counter, gauge"),
        (b"# HELP my.rows Rows", "not a metric name"),
    ],
)
def test_what_can_not_be_pushed_is_refused_with_its_line(line, complaint):
    families, complaints = lenient(b"first 1\n" + line + b"\nlast 2\n")
    assert written(families) == ["first 1.0", "last 2.0"]
    ((number, text),) = complaints
    assert (number, text[: len(complaint)]) == (2, complaint)


@pytest.mark.parametrize(
    ("lines", "complaint", "kept"),
    [
        (["h 1"], "the histogram h has h_bucket, h_sum, h_count", []),
        (["h_bucket 1"], "in a histogram, h_bucket and no other has a label le", []),
        (['h_sum{le="1"} 1'], "in a histogram, h_bucket and no other has a label le", []),
        (['h_bucket{le="x"} 1'], "the label le must be a number", []),
        (['h_bucket{le="NaN"} 1'], "the label le must be a number", []),
        (["h_count -1"], "a count must not be negative", []),
        (["# TYPE h_sum gauge", "h_sum 1"], "h_sum belongs to the histogram h", ["h_sum 1.0"]),
        (["# TYPE h gauge", "h_sum 1"], "h is a histogram already", ["h_sum 1.0"]),
    ],
)
def test_what_a_gateway_would_mangle_is_refused(lines, complaint, kept):
    families, complaints = lenient("\n".join(["# TYPE h histogram", *lines]).encode())
    assert written(families) == kept
    ((_, text),) = complaints
    assert complaint in text


def test_a_bucket_written_in_two_ways_is_one_bucket():
    text = b'# TYPE h histogram\nh_bucket{le="1"} 1\nh_bucket{le="1.0"} 2\n'
    assert written(lenient(text)[0]) == ['h_bucket{le="1.0"} 2.0']


NAMES = st.sampled_from(
    [
        *("h", "s", "c", "c_total", "h_total", "h_sum", "h_count", "h_bucket", "s_count"),
        *("h_sum_count", "_total", "x.y", "é", "0", ""),
        *("ours_x", "push_time_seconds", "push_time_seconds_total"),
    ]
)
LABELS = st.sampled_from(
    [
        *[""] * 10,
        *("{}", '{le="1"}', '{le="+Inf"}', '{le="1e999"}', '{le="NaN"}', '{quantile="0.5"}'),
        *('{a="1",b="2"}', '{b="2",a="1"}', '{a=""}', r'{a="\"\\\n"}', '{job="x"}', '{__a="1"}'),
        *('{a="1",a="2"}', "{a=", '{"a b"="1"}', '{a="1"', '{__name__="h_sum"}', '{"":"}', '{"  '),
    ]
)
VALUES = st.sampled_from(
    [
        *("1", "2", "-1", "+Inf", "NaN", "1e400", "9" * 400, "9" * 5000, "1_0", "0x1", "", "٣"),
        *("1 2", "1 x", "1 # {} 1", "1 " + "9" * 400),
    ]
)
KINDS = st.sampled_from(
    ["counter", "gauge", "histogram", "summary", "untyped", "unknown", "info", "gaugehistogram", ""]
)
LINES = st.one_of(
    st.builds("# TYPE {} {}".format, NAMES, KINDS),
    st.builds("# HELP {} {}".format, NAMES, st.text(max_size=5)),
    st.builds("{}{} {}".format, NAMES, LABELS, VALUES),
    st.text(max_size=20),
).map(lambda line: line.encode("utf-8", "replace"))
CONTENTS = st.one_of(
    st.binary(max_size=200),
    st.lists(st.one_of(LINES, st.binary(max_size=20)), max_size=12).map(b"\n".join),
)


@pytest.fixture(scope="module")
def strict_gateway():
    with EmbeddedGateway() as gateway:
        yield Gateway(gateway.url)


def test_a_label_that_the_key_has_with_the_same_value_is_left_out():
    key = GroupingKey("j", {"table": "t"})
    lines = b'm{table="t",a="1"} 1\nm{a="1",job="j"} 2\nm{table="u",a="1"} 3\n'
    families, ((number, text),) = parse_leniently(lines, key)
    assert written(families) == ['m{a="1"} 2.0']
    assert (number, text[:36]) == (3, "the label table is in the grouping k")


def test_a_time_of_the_job_metrics_that_no_clock_shows_is_left_out():
    families, ((number, text),) = parse_leniently(b"batch_job_x_timestamp_seconds -Inf\nm 1\n")
    assert written(families) == ["m 1.0"]
    assert (number, text[:34]) == (1, "the value is no time that a clock ")


@given(CONTENTS)
@example(b"# TYPE h_sum gauge\n# TYPE h histogram\nh_sum 1\nh_count 1")
@example(b"# TYPE c_total histogram\n# TYPE c counter\nc_total 1\nc_total_sum 1\nc 1")
@example(b"# TYPE c_total gauge\n# TYPE c counter\nc_total 1\nc 1")
def test_whatever_bytes_a_job_writes_what_is_returned_can_be_pushed(strict_gateway, content):
    families, complaints = lenient(content)
    strict_gateway.push(KEY, families, clear=True)
    assert all(complaint.text.isprintable() for complaint in complaints)
