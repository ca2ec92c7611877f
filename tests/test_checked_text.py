"""checked_text: text of a user's, as a payload or with the line to change."""

import pytest

from pushgate import GroupingKey, InvalidPayloadError, checked_text

KEY = GroupingKey("load", {"table": "orders"})


def test_text_stays_as_it_was_written():
    text = b'# HELP rows Rows\n# TYPE rows counter\nrows 1\n# a remark\nfree{x="1"} 2e3\n'

    assert checked_text(text, KEY)[:2] == (text, 2)


def test_what_editors_and_windows_do_is_undone():
    assert checked_text(b"\xef\xbb\xbfrows 1\r\nmore 2", KEY)[:2] == (b"rows 1\nmore 2\n", 2)
    assert checked_text(b"", KEY)[:2] == (b"", 0)


@pytest.mark.parametrize(
    ("text", "words", "metric"),
    [
        (b"rows 1\nro-ws 2\n", "line 2: ", None),
        (b"rows 1\nmore 1\nrows 2\n", "line 3: ", "rows"),
        (b'ok 1\nrows{table="x"} 1\n', "line 2: the metric 'rows' has the label 'table'", "rows"),
        (
            b"batch_job_x_timestamp_seconds +Inf\n",
            "line 1: a sample",
            "batch_job_x_timestamp_seconds",
        ),
        (b"rows 1 1700000000000\n", "line 1: a sample of 'rows' has a timestamp", "rows"),
    ],
)
def test_what_a_gateway_would_refuse_or_mangle_is_refused_with_its_line(text, words, metric):
    with pytest.raises(InvalidPayloadError) as raised:
        checked_text(text, KEY)

    assert words in str(raised.value)
    assert raised.value.metric == metric
