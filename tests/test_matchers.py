"""Matchers select what PromQL's would, and say how to write one."""

import pytest

from pushgate import Matcher, parse_matchers

LABELS = {"job": "backup", "instance": "db1", "note": 'a "b", c'}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("job=backup", True),
        ("job=back", False),
        ("job!=backup", False),
        ('instance=~"db.*"', True),
        ("instance=~db.*", True),
        ("instance=~b1", False),  # anchored
        ("instance=~db1|db2", True),
        ("instance!~db.*", False),
        ("instance=~d{1,2}b1", True),  # a comma, without quotes
        ("task=", True),  # what is not there is empty
        ("task!=", False),
        ("task=~.*", True),
        ("task=~.+", False),
        ('{job="backup",instance!="x"}', True),
        ('{job="backup",instance!="db1",}', False),
        ('{job=\'backup\', note="a \\"b\\", c"}', True),
        ('{note=`a "b", c`}', True),
        ('{"job"="backup"}', True),
        ('job="backup",instance="db2"', False),
        (" job = backup", True),
    ],
)
def test_a_matcher_selects_as_in_promql(text, found):
    assert all(matcher.matches(LABELS) for matcher in parse_matchers(text)) is found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "write LABEL=VALUE"),
        ("{}", "write LABEL=VALUE"),
        ("backup", "write LABEL=VALUE"),
        ("1job=x", "write LABEL=VALUE"),
        ("job=~(", "no regular expression"),
        ('{job="a"', "does not end with one"),
        ("{job=a}", 'write the value of job as "value"'),
        ('job="a', 'write the value of job as "value"'),
        ('job="a" instance="b"', "put a comma between"),
        (r'job="\d"', "write a backslash as"),
    ],
)
def test_what_is_no_matcher_is_refused_with_the_way_to_write_it(text, words):
    with pytest.raises(ValueError, match=words):
        parse_matchers(text)


def test_a_matcher_prints_as_it_can_be_read():
    for label in ("job", "db.name", 'a"\\'):
        matcher = Matcher(label, "=~", 'a\\.b"\n')
        assert parse_matchers(str(matcher)) == (matcher,)
    assert str(Matcher("db.name", "=", "shop")) == '"db.name"="shop"'


def test_a_wrong_operator_is_refused():
    with pytest.raises(ValueError, match="no operator '=='"):
        Matcher("job", "==", "a")
