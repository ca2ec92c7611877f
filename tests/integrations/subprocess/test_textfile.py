"""node_exporter's textfile: what a Pushgateway would hold after the same POSTs."""

import fcntl
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.parser import text_string_to_metric_families

from pushgate import Family, GroupingKey, InvalidPayloadError, Sample, gauge
from pushgate_subprocess import _textfile
from pushgate_subprocess._file_names import stem
from pushgate_subprocess._textfile import write

KEY = GroupingKey("backup")
MARK = "# pushgate /metrics/job/backup\n"


def samples(path):
    families = text_string_to_metric_families(path.read_text())
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def test_the_grouping_labels_are_on_every_sample(tmp_path):
    key = GroupingKey("nightly backup", {"db": 'a"b\n'})
    family = Family(
        "rows", "Rows.", "gauge", [Sample("rows", {"t": "x"}, 1), Sample("rows", {}, 2)]
    )
    write(tmp_path, key, [family])
    (path,) = tmp_path.iterdir()
    assert path.name.startswith("nightly%20backup-")
    assert path.suffix == ".prom"
    assert path.read_text() == (
        f"# pushgate {key.path}\n# HELP rows Rows.\n# TYPE rows gauge\n"
        'rows{db="a\\"b\\n",job="nightly backup",t="x"} 1.0\n'
        'rows{db="a\\"b\\n",job="nightly backup"} 2.0\n'
    )
    assert family.samples[0].labels == {"t": "x"}


def test_a_failing_run_keeps_the_last_success(tmp_path):
    path = tmp_path / "backup.prom"
    write(tmp_path, KEY, [gauge("success", "S.", 1), gauge("end", "E.", 1)])
    write(tmp_path, KEY, [gauge("end", "E.", 2), gauge("failure", "F.", 2)])
    job = ("job", "backup")
    assert samples(path) == {("success", job): 1, ("end", job): 2, ("failure", job): 2}
    write(tmp_path, KEY, [gauge("success", "S.", 3), gauge("end", "E.", 3)])
    assert samples(path) == {("success", job): 3, ("end", job): 3, ("failure", job): 2}


def test_with_replace_nothing_else_stays(tmp_path):
    path = tmp_path / "backup.prom"
    write(tmp_path, KEY, [], replace=True)
    assert not path.exists()
    write(tmp_path, KEY, [gauge("a", "A.", 1)])
    write(tmp_path, KEY, [gauge("b", "B.", 1)], replace=True)
    assert samples(path) == {("b", ("job", "backup")): 1}
    write(tmp_path, KEY, [], replace=True)
    assert list(tmp_path.iterdir()) == []


def test_families_of_every_type_survive_later_writes_byte_for_byte(tmp_path):
    registry = CollectorRegistry()
    Counter("rows", "Rows\n# HELP x \\", ["t"], registry=registry).labels("# HELP y\n# TYPE").inc()
    Histogram("took", "Took.", registry=registry).observe(1)
    write(tmp_path, KEY, registry.collect())
    path = tmp_path / "backup.prom"
    first = path.read_text().removeprefix(MARK)
    assert "rows_created" in first
    for _ in range(2):
        write(tmp_path, KEY, [gauge("end", "E.", 1)])
    assert first in path.read_text()
    write(tmp_path, KEY, registry.collect())
    assert path.read_text().count("# TYPE took histogram") == 1


def test_a_family_that_clashes_with_a_new_one_goes(tmp_path):
    path = tmp_path / "backup.prom"
    write(tmp_path, KEY, [gauge("took_sum", "A.", 1), gauge("kept", "A.", 1)])
    bucket = Sample("took_bucket", {"le": "+Inf"}, 1)
    write(tmp_path, KEY, [Family("took", "T.", "histogram", [bucket])])
    names = {name for name, *_ in samples(path)}
    assert names == {"kept", "took_bucket"}
    write(tmp_path, KEY, [gauge("took_sum", "A.", 1)])
    assert {name for name, *_ in samples(path)} == {"kept", "took_sum"}


def test_what_encode_refuses_leaves_the_file_as_it_was(tmp_path):
    write(tmp_path, KEY, [gauge("a", "A.", 1)])
    before = (tmp_path / "backup.prom").read_bytes()
    with pytest.raises(InvalidPayloadError, match="'job'"):
        write(tmp_path, KEY, [gauge("a", "A.", 2, {"job": "x"})])
    with pytest.raises(InvalidPayloadError, match="timestamp"):
        write(tmp_path, KEY, [Family("a", "A.", "gauge", [Sample("a", {}, 1, 5)])])
    assert (tmp_path / "backup.prom").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_the_collector_can_read_it_and_finds_nothing_half_done(tmp_path, monkeypatch):
    seen = []
    rename = os.replace

    def watched(source, target):
        seen.append((os.path.dirname(source), source.endswith(".prom"), os.path.exists(target)))
        rename(source, target)

    monkeypatch.setattr(os, "replace", watched)
    umask = os.umask(0o077)
    try:
        write(tmp_path, KEY, [gauge("a", "A.", 1)])
    finally:
        os.umask(umask)
    assert (tmp_path / "backup.prom").stat().st_mode & 0o777 == 0o644
    assert seen == [(str(tmp_path), False, False)]


def test_a_full_disk_leaves_the_file_as_it_was_and_no_litter(tmp_path, monkeypatch):
    write(tmp_path, KEY, [gauge("a", "A.", 1)])
    before = (tmp_path / "backup.prom").read_bytes()

    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path, KEY, [gauge("a", "A.", 2)])
    assert (tmp_path / "backup.prom").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_a_line_cut_short_is_dropped(tmp_path):
    path = tmp_path / "backup.prom"
    path.write_text(MARK + "# HELP a A.\n# TYPE a gauge\na 1.0\nnoise\n\n# HELP b B.\n# TYPE b ga")
    write(tmp_path, KEY, [gauge("c", "C.", 1)])
    assert "# HELP a A.\n# TYPE a gauge\na 1.0\n" in path.read_text()
    assert "b" not in {name for name, *_ in samples_of_valid_lines(path)}


def samples_of_valid_lines(path):
    lines = [line for line in path.read_text().splitlines() if line != "noise"]
    for family in text_string_to_metric_families("\n".join(lines)):
        yield from ((sample.name,) for sample in family.samples)


@pytest.mark.parametrize("kind", ["text", "link", "fifo", "other key"])
def test_a_file_of_somebody_else_is_not_touched(tmp_path, kind):
    path, precious = tmp_path / "backup.prom", tmp_path / "precious"
    precious.write_text("my_own_metric 1\n")
    if kind == "text":
        path.write_text("my_own_metric 1\n")
    elif kind == "link":
        path.symlink_to(precious)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.write_text("# pushgate /metrics/job/backup/a/b\n")
    before = os.lstat(path)
    with pytest.raises(OSError, match=r"not written by pushgate|symbolic links"):
        write(tmp_path, KEY, [gauge("a", "A.", 1)])
    assert os.lstat(path).st_ino == before.st_ino
    assert precious.read_text() == "my_own_metric 1\n"


def test_an_unusable_directory_is_an_oserror(tmp_path):
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "none", KEY, [gauge("a", "A.", 1)])
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        write(tmp_path / "file", KEY, [gauge("a", "A.", 1)])


def test_two_runs_that_end_together_both_leave_their_metrics(tmp_path):
    names = [f"m{n}" for n in range(4)]
    threads = [
        threading.Thread(target=write, args=(tmp_path, KEY, [gauge(name, "M.", 1)]))
        for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {name for name, *_ in samples(tmp_path / "backup.prom")} == set(names)


def test_somebody_who_keeps_the_directory_locked_does_not_keep_us(tmp_path, monkeypatch):
    monkeypatch.setattr(_textfile, "_LONGEST_WAIT", 0.0)
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        write(tmp_path, KEY, [gauge("a", "A.", 1)])
    finally:
        os.close(fd)
    assert (tmp_path / "backup.prom").exists()


# --- file names ---------------------------------------------------------------------------------

JOBS = st.one_of(
    st.text("aAbB.-_/ %é0123456789abcdef", min_size=1, max_size=20),
    st.text(min_size=1, max_size=300),
).filter(lambda text: not any("\ud800" <= character <= "\udfff" for character in text))
KEYS = st.builds(GroupingKey, JOBS, st.dictionaries(st.sampled_from(["a", "b"]), JOBS, max_size=2))


@given(st.lists(KEYS, unique=True, min_size=2, max_size=4))
def test_two_keys_never_share_a_file_not_even_on_macos(keys):
    names = [stem(key) for key in keys]
    assert len({name.lower() for name in names}) == len(keys)
    assert all(len(name) < 130 and "/" not in name and name.isascii() for name in names)


def test_a_plain_job_can_not_take_the_name_of_a_hashed_one():
    hashed = stem(GroupingKey("a", {"b": "c"}))
    assert hashed.startswith("a-")
    assert stem(GroupingKey(hashed)) != hashed
    assert stem(GroupingKey("nightly-backup_2.db")) == "nightly-backup_2.db"
