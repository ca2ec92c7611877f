"""checked_text: text of a user's, as a payload or with the line to change."""

from pushgate import GroupingKey, checked_text

KEY = GroupingKey("load", {"table": "orders"})


def test_text_stays_as_it_was_written():
    text = b'# HELP rows Rows\n# TYPE rows counter\nrows 1\n# a remark\nfree{x="1"} 2e3\n'

    assert checked_text(text, KEY)[:2] == (text, 2)


def test_what_editors_and_windows_do_is_undone():
    assert checked_text(b"\xef\xbb\xbfrows 1\r\nmore 2", KEY)[:2] == (b"rows 1\nmore 2\n", 2)
    assert checked_text(b"", KEY)[:2] == (b"", 0)
