"""The grouping key: prometheus_client's paths, its bugs mended, and what is refused."""

import pickle

import pytest

from pushgate import GroupingKey, InvalidGroupingKeyError


@pytest.mark.parametrize(
    ("job", "labels", "path"),
    [
        ("j", {}, "/metrics/job/j"),
        ("j", {"U__foo_2e_bar": "x"}, "/metrics/job/j/U__foo_2e_bar/x"),
        # Mended: these would be cleaned out of the path and land on the parent group.
        ("..", {}, "/metrics/job@base64/Li4="),
        (".", {}, "/metrics/job@base64/Lg=="),
        ("j", {"a": ".."}, "/metrics/job/j/a@base64/Li4="),
    ],
)
def test_the_path_names_the_group(
    job, labels, path
):  # others: as prometheus_client's, in test_handlers
    assert GroupingKey(job, labels).path == path


@pytest.mark.parametrize(
    ("job", "labels", "label", "advice"),
    [
        ("", {}, "job", "non-empty"),
        (None, {}, "job", "must be a string, not NoneType"),
        (b"j", {}, "job", "must be a string, not bytes"),
        (GroupingKey("j"), {}, "job", "must be a string, not GroupingKey"),
        ("\ud800", {}, "job", "not valid Unicode"),
        ("j", {"a": "x\udcff"}, "a", "not valid Unicode"),
        ("j", {"instance": ""}, "instance", "leave it out"),
        ("j", {"job": "x"}, "job", "leave it out"),
        ("j", {"U__job": "x"}, "U__job", "leave it out"),
        ("j", {"b-c": "x"}, "b-c", "letters, digits and underscores"),
        ("j", {"1x": "x"}, "1x", "letters, digits and underscores"),
        ("j", {"a b": "x"}, "a b", "letters, digits and underscores"),
        ("j", {"a/b": "x"}, "a/b", "letters, digits and underscores"),
        ("j", {"a\n": "x"}, "a\n", "letters, digits and underscores"),
        ("j", {"ä": "x"}, "ä", "letters, digits and underscores"),
        ("j", {"": "x"}, "", "letters, digits and underscores"),
        ("j", {"__x": "x"}, "__x", "no leading '__'"),
        ("j", {"U______x": "x"}, "U______x", "no leading '__'"),  # decodes to __x
        ("j", {"U__": "x"}, "U__", "letters, digits and underscores"),
        ("j", {"U___d800_": "x"}, "U___d800_", "letters, digits and underscores"),
        ("j", {"foo": "1", "U__foo": "2"}, "foo", "the same name"),
        ("j", {1: "x"}, "1", "not a string"),
        ("j", {"a": "x" * 1_000_000}, "a", "shorten the value of 'a'"),
    ],
)
def test_what_a_gateway_would_refuse_or_mangle_is_refused(job, labels, label, advice):
    with pytest.raises(InvalidGroupingKeyError, match=advice) as refusal:
        GroupingKey(job, labels)
    assert refusal.value.label == label
    assert isinstance(refusal.value, ValueError)


def test_a_key_is_a_value():
    labels = {"b": "2", "a": "1"}
    key = GroupingKey("j", labels)
    labels["a"] = "changed"

    assert key == GroupingKey("j", {"a": "1", "b": 2})
    assert {key: 1}[GroupingKey("j", {"a": "1", "b": "2"})] == 1
    assert key.labels == {"job": "j", "a": "1", "b": "2"}
    assert key != GroupingKey("j")
    assert key.with_labels(a="9").labels == {"job": "j", "a": "9", "b": "2"}
    assert pickle.loads(pickle.dumps(key)) == key
    assert str(GroupingKey('a"b\n', {"x": "\\"})) == '{job="a\\"b\\n",x="\\\\"}'
    with pytest.raises(AttributeError):
        key.path = "/elsewhere"
