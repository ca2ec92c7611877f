"""The job's own metrics: whatever it leaves in its file, only that file's faults are its cost."""

import os
import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from pushgate import GroupingKey, encode
from pushgate.embedded import consistency
from pushgate.embedded.model import held_families
from pushgate.jobs import vocabulary
from pushgate.protocol.parse import parse_text
from pushgate_subprocess import _handoff
from pushgate_subprocess._handoff_text import _PLAIN, _RESERVED_PREFIX, parse

KEY = GroupingKey("backup", {"origin": "job"})


@pytest.fixture(autouse=True)
def tmpdir_is_ours(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))


@pytest.fixture
def path():
    made = _handoff.create()
    assert made is not None
    return made


def written(families):
    """The sample lines that are pushed."""
    lines = encode(families, KEY).text.decode().splitlines()
    return [line for line in lines if not line.startswith("#")]


def sound(families):
    """A real gateway would take it too, as far as we know them."""
    text = encode(families, KEY).text
    found = held_families(parse_text(text))
    consistency.check(found.values(), [])
    return found


# --- the file -----------------------------------------------------------------------------------


def test_the_file_is_private_empty_and_removable(path, tmp_path):
    umask = os.umask(0o777)
    try:
        other = _handoff.create()
    finally:
        os.umask(umask)
    assert other is not None
    assert other != path
    for made in (path, other):
        assert os.path.dirname(made) == str(tmp_path)
        assert os.stat(made).st_mode & 0o777 == 0o600
        assert _handoff.read(made, KEY) == ([], [])
        _handoff.remove(made)
        _handoff.remove(made)
    assert list(tmp_path.iterdir()) == []


def test_a_job_that_changes_directory_finds_a_file_in_a_relative_tmpdir(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", ".")
    assert os.path.dirname(_handoff.create() or "") == str(tmp_path)


def test_without_a_usable_tmpdir_it_is_in_tmp_and_without_that_there_is_none(monkeypatch):
    monkeypatch.setenv("TMPDIR", "/no/such/directory")
    made = _handoff.create()
    assert made is not None
    assert made.startswith("/tmp/pushgate-")
    _handoff.remove(made)
    monkeypatch.setattr(os, "open", lambda *_a, **_k: (_ for _ in ()).throw(OSError(28, "full")))
    assert _handoff.create() is None


def test_lines_that_a_shell_appends_are_read(path):
    script = 'for n in 1 2 42; do echo "rows_loaded $n" >> "$PUSHGATE_METRICS_FILE"; done'
    env = {**os.environ, "PUSHGATE_METRICS_FILE": path}
    subprocess.run(["/bin/sh", "-c", script], env=env, check=True)
    families, complaints = _handoff.read(path, KEY)
    assert written(families) == ["rows_loaded 42.0"]
    assert complaints == []


def test_reading_plain_lines_imports_no_prometheus_client(path):
    with open(path, "w") as file:
        file.write("# HELP rows Rows.\n# TYPE rows gauge\nrows 42\nratio 0.5\n")
    code = """if True:
        import sys
        from pushgate import GroupingKey
        from pushgate_subprocess import _handoff
        assert len(_handoff.read(sys.argv[1], GroupingKey("j"))[0]) == 2
        sys.exit("prometheus_client" in sys.modules)
    """
    subprocess.run([sys.executable, "-c", code, path], check=True)


def test_creating_imports_next_to_nothing():
    code = """if True:
        import sys, os, stat
        import pushgate_subprocess
        before = set(sys.modules)
        from pushgate_subprocess import _handoff
        _handoff.remove(_handoff.create())
        print(*sorted(set(sys.modules) - before))
    """
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(found.stdout.split()) <= {
        "errno",
        "_signal",
        "pushgate_subprocess._handoff",
        "pushgate_subprocess._lean",
    }


def replaced_by_a_directory(path, _secret):
    os.mkdir(path)


def replaced_by_a_link(path, secret):
    os.symlink(secret, path)


def replaced_by_a_fifo(path, _secret):
    os.mkfifo(path)


def gone(_path, _secret):
    pass


@pytest.mark.parametrize(
    ("replace", "complaint"),
    [
        (gone, "No such file or directory"),
        (replaced_by_a_directory, "it is no longer a regular file"),
        (replaced_by_a_link, "symbolic links"),
        (replaced_by_a_fifo, "it is no longer a regular file"),
    ],
)
def test_what_the_job_puts_in_its_place_is_not_followed_nor_waited_for(
    path, tmp_path, replace, complaint
):
    secret = tmp_path / "secret"
    secret.write_text("precious 1\n")
    os.unlink(path)
    replace(path, secret)

    families, complaints = _handoff.read(path, KEY)

    assert families == []
    assert len(complaints) == 1
    assert complaint in complaints[0]
    _handoff.remove(path)
    assert secret.read_text() == "precious 1\n"


def test_a_job_may_move_a_finished_file_over_it(path, tmp_path):
    (tmp_path / "new").write_text("rows 1\n")
    os.rename(tmp_path / "new", path)
    assert written(_handoff.read(path, KEY)[0]) == ["rows 1.0"]


def test_beyond_a_mebibyte_the_whole_lines_that_fit_are_used(path):
    line = b"rows %09d\n"
    fit = _handoff.MAX_BYTES // len(line % 0)
    with open(path, "wb") as file:
        file.writelines(line % n for n in range(fit + 10))
    families, complaints = _handoff.read(path, KEY)
    assert written(families) == [f"rows {fit - 1}.0"]
    assert complaints == [
        f"$PUSHGATE_METRICS_FILE is over 1048576 bytes: only the first {fit} lines of it are"
        " used; write less often, or less"
    ]


def test_a_sparse_terabyte_is_refused_at_once(path):
    os.truncate(path, 1 << 40)
    families, complaints = _handoff.read(path, KEY)
    assert families == []
    assert "over 1048576 bytes" in complaints[0]


# --- the text -----------------------------------------------------------------------------------


def test_one_malformed_line_costs_that_line_only():
    families, complaints = parse(b"a 1\nrows loaded 42\nb 2\nc\n\n\nd 4", KEY)
    assert written(families) == ["a 1.0", "b 2.0", "d 4.0"]
    hint = "not a metric; write 'name value' or 'name{label=\"v\"} value'"
    assert complaints == [
        f"$PUSHGATE_METRICS_FILE, line 2: {hint}: 'rows loaded 42'",
        f"$PUSHGATE_METRICS_FILE, line 4: {hint}: 'c'",
    ]


def test_what_windows_does_to_files_is_undone():
    families, complaints = parse(b"\xef\xbb\xbfa 1\r\nb 2\r\n\r\nc 3", KEY)
    assert written(families) == ["a 1.0", "b 2.0", "c 3.0"]
    assert complaints == []


def test_the_last_value_of_a_series_wins():
    text = b'x{a="1",b="2"} 1\nx 5\nx{b="2",a="1",c=""} 3\n# TYPE x gauge\nx{a="1",b="3"} 9\n'
    families, complaints = parse(text, KEY)
    assert len(families) == 1
    assert written(families) == ['x{a="1",b="2"} 3.0', "x 5.0", 'x{a="1",b="3"} 9.0']
    assert complaints == []
    sound(families)


def test_a_whole_exposition_is_kept_with_its_types_and_help():
    text = (
        "# HELP rows_total Rows \\\\ lines\\nloaded.\n# TYPE rows_total counter\nrows_total 7\n"
        "# HELP t Time.\n# TYPE t histogram\n"
        't_bucket{le="1"} 1\nt_bucket{le="+Inf"} 2\nt_sum 3\nt_count 2\n'
        '# HELP s S.\n# TYPE s summary\ns{quantile="0.5"} 1\ns_sum 3\ns_count 2\n'
        "# HELP free_bytes Free.\n# TYPE free_bytes gauge\nfree_bytes 1.5\n"
    )
    families, complaints = parse(text.encode(), KEY)
    assert complaints == []
    pushed, written_text = (parse_text(t) for t in (encode(families, KEY).text, text.encode()))
    assert held_families(pushed) == held_families(written_text)


def test_a_counter_is_called_what_the_job_called_it():
    text = b"# TYPE a counter\na 1\n# TYPE b counter\n# HELP b Bs.\nb_total 2\n"
    families, complaints = parse(text, KEY)
    assert complaints == []
    assert encode(families, KEY).text.decode() == (
        "# HELP a \n# TYPE a untyped\na 1.0\n# HELP b_total Bs.\n# TYPE b_total counter\n"
        "b_total 2.0\n"
    )


def test_timestamps_are_dropped_and_that_is_said_once():
    families, complaints = parse(b"a 1 1700000000000\nb 2\nc 3 1700000000000\n", KEY)
    assert written(families) == ["a 1.0", "b 2.0", "c 3.0"]
    assert complaints == [
        "$PUSHGATE_METRICS_FILE, line 1: timestamps are dropped, here and below: a Pushgateway"
        " refuses them"
    ]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"batch_job_last_exit_code 0", "the name batch_job_last_exit_code is reserved"),
        (b"push_time_seconds 1", "the name push_time_seconds is reserved"),
        (b"push_failure_time_seconds 1", "the name push_failure_time_seconds is reserved"),
        (b'rows{job="x"} 1', "the label job is in the grouping key"),
        (b'rows{origin=""} 1', "the label origin is in the grouping key"),
        (b'rows{__x="1"} 1', "not a "),
        (b'{"my.rows"} 1', "not a metric"),
        (b'rows{"my.label"="x"} 1', "not a "),
        (b"rows 1\0", "NUL bytes can't be pushed"),
        (b"rows\xff 1", "not valid UTF-8"),
        (b'rows{a="\xed\xa0\x80"} 1', "not valid UTF-8"),
        (b"rows " + b"9" * 400, "the value is too large"),
        (b'rows{a="' + b"x" * 20_000 + b'"} 1', "a line must not be over 16384 bytes"),
        (b"# TYPE rows rate", "a type must be one of counter, gauge"),
        (b"# TYPE rows", "a type must be one of counter, gauge"),
        (b"# HELP my.rows Rows", "not a metric name"),
    ],
)
def test_what_can_not_be_pushed_is_refused_with_its_line(line, complaint):
    families, complaints = parse(b"first 1\n" + line + b"\nlast 2\n", KEY)
    assert written(families) == ["first 1.0", "last 2.0"]
    assert len(complaints) == 1
    assert complaints[0].startswith(f"$PUSHGATE_METRICS_FILE, line 2: {complaint}")


@pytest.mark.parametrize(
    ("lines", "complaint", "kept"),
    [
        (["h 1"], "the histogram h has h_bucket, h_sum, h_count", []),
        (["h_bucket 1"], "in a histogram, h_bucket and no other has a label le", []),
        (['h_sum{le="1"} 1'], "in a histogram, h_bucket and no other has a label le", []),
        (['h_bucket{le="x"} 1'], "the label le must be a number", []),
        (['h_bucket{le="1_0"} 1'], "the label le must be a number", []),
        (["h_count -1"], "a count must not be negative", []),
        (["# TYPE h_sum gauge", "h_sum 1"], "h_sum belongs to the histogram h", ["h_sum 1.0"]),
        (["# TYPE h gauge", "h_sum 1"], "h is a histogram already", ["h_sum 1.0"]),
    ],
)
def test_what_a_gateway_would_mangle_is_refused(lines, complaint, kept):
    families, complaints = parse("\n".join(["# TYPE h histogram", *lines]).encode(), KEY)
    assert written(families) == kept
    assert len(complaints) == 1
    assert complaint in complaints[0]


def test_a_bucket_written_in_two_ways_is_one_bucket():
    text = b'# TYPE h histogram\nh_bucket{le="1"} 1\nh_bucket{le="1.0"} 2\n'
    assert written(parse(text, KEY)[0]) == ['h_bucket{le="1.0"} 2.0']


def test_a_log_written_to_the_wrong_file_does_not_flood_stderr():
    families, complaints = parse(b"2024-01-01 \x1b[31mERROR: no\r\x07\n" * 1000 + b"a 1\n", KEY)
    assert written(families) == ["a 1.0"]
    assert len(complaints) == 21
    assert complaints[-1] == "$PUSHGATE_METRICS_FILE: and 980 more lines"
    assert all(line.isprintable() for line in complaints)


def test_the_reserved_prefix_is_the_vocabulary_s():
    assert _RESERVED_PREFIX == vocabulary.PREFIX


# --- any bytes ----------------------------------------------------------------------------------

NAMES = st.sampled_from(
    [
        *("h", "s", "c", "c_total", "h_total", "h_sum", "h_count", "h_bucket", "s_count"),
        *("h_sum_count", "_total", "x.y", "é", "0", ""),
        *("batch_job_x", "push_time_seconds", "push_time_seconds_total"),
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


@given(CONTENTS)
@example(b"# TYPE h_sum gauge\n# TYPE h histogram\nh_sum 1\nh_count 1")
@example(b"# TYPE c_total histogram\n# TYPE c counter\nc_total 1\nc_total_sum 1\nc 1")
@example(b"# TYPE c_total gauge\n# TYPE c counter\nc_total 1\nc 1")
def test_whatever_bytes_the_job_writes_what_is_returned_can_be_pushed(content):
    families, complaints = parse(content, KEY)
    sound(families)
    assert all(line.isprintable() for line in complaints)


@given(st.from_regex(_PLAIN, fullmatch=True))
def test_plain_lines_are_read_as_prometheus_client_reads_them(line):
    ((theirs,),) = [metric.samples for metric in text_string_to_metric_families(line)]
    (ours,) = parse(line.encode(), GroupingKey("j"))[0] or [None]
    if ours is None:
        assert line.startswith(("batch_job_", "push_"))
    else:
        (sample,) = ours.samples
        assert (sample.name, sample.value) == (theirs.name, float(theirs.value))
