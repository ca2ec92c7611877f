"""node_exporter's textfile: what a Pushgateway would hold after the same POSTs."""

import os

import pytest
from prometheus_client.parser import text_string_to_metric_families

MARK = "# pushgate /metrics/job/backup\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "textfiles").mkdir()
    return tmp_path / "textfiles"


@pytest.fixture
def write(pushgate, folder):
    """Runs a script with `--textfile` and without a gateway; returns the lines of its stderr."""

    def write(script="exit 0", *options, job="backup", **popen):
        words = ("--textfile", str(folder), *options, "--", "sh", "-c", script)
        code, out, err = pushgate.run(pushgate.argv(*words, job=job), **popen)
        assert (code, out) == (int(script.rpartition("exit ")[2]), b"")
        return err.decode().splitlines()

    return write


def values(path):
    """The values by name, and that they all have the labels of the job `backup`."""
    found = {}
    for family in text_string_to_metric_families(path.read_text()):
        for sample in family.samples:
            assert sample.labels["job"] == "backup"
            found[sample.name.removeprefix("batch_job_")] = sample.value
    return found


def test_a_failing_run_keeps_the_last_success(write, folder):
    assert write() == []
    first = values(folder / "backup.prom")
    assert first["last_run_success"] == 1
    assert "last_failure_timestamp_seconds" not in first
    write("exit 3")
    second = values(folder / "backup.prom")
    succeeded = "last_success_timestamp_seconds"
    assert (second[succeeded], second["last_exit_code"]) == (first[succeeded], 3)
    write()
    third = values(folder / "backup.prom")
    assert third[succeeded] > second["last_failure_timestamp_seconds"]
    assert third["last_failure_timestamp_seconds"] == second["last_failure_timestamp_seconds"]


def test_own_metrics_of_every_type_have_a_file_that_each_run_replaces(write, folder, tmp_path):
    (tmp_path / "own").write_text(
        "# HELP t Took.\n# TYPE t histogram\n"
        't_bucket{le="1"} 1\nt_bucket{le="+Inf"} 2\nt_sum 3\nt_count 2\n'
        "# HELP rows_total Rows \\\\ lines\\nloaded.\n# TYPE rows_total counter\nrows_total 7\n"
    )
    write(f'cat {tmp_path}/own >>"$PUSHGATE_METRICS_FILE"; exit 0')
    (own,) = [path for path in folder.iterdir() if path.name != "backup.prom"]
    assert own.name.startswith("backup-")
    assert 't_bucket{job="backup",le="+Inf",origin="job"} 2' in own.read_text()
    assert values(own) == {"t_bucket": 2, "t_sum": 3, "t_count": 2, "rows_total": 7}
    write("exit 1")
    assert values(own)["rows_total"] == 7
    write()
    assert not own.exists()


def test_without_a_gateway_and_beside_one_it_is_told(run, value, folder):
    _, _, err = run("-v", "--textfile", str(folder), "--", "sh", "-c", "exit 2", gateway=None)
    assert err.endswith(f"; pushed to {folder}\n".encode())
    assert run("--textfile", str(folder), "true") == (0, b"", b"")
    assert value("last_run_success") == values(folder / "backup.prom")["last_run_success"] == 1
    code, _, err = run("--textfile", str(folder / "no"), "--", "sh", "-c", "exit 2")
    assert (code, err.count(b"\n"), str(folder / "no").encode() in err) == (2, 1, True)
    assert value("last_exit_code") == 2


def test_each_job_has_a_file_that_the_collector_can_read(write, folder):
    umask = os.umask(0o077)
    try:
        write(job="nightly backup")
    finally:
        os.umask(umask)
    (path,) = folder.iterdir()
    assert path.name.startswith("nightly%20backup-")
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_line_cut_short_and_a_family_that_clashes_go(write, folder):
    path = folder / "backup.prom"
    kept = '# HELP a A.\n# TYPE a gauge\na{job="backup"} 1.0\n'
    clash = '# TYPE batch_job_last_exit_code counter\nbatch_job_last_exit_code{job="backup"} 9\n'
    path.write_text(f"{MARK}{kept}noise\n\n{clash}# HELP b B.\n# TYPE b ga")
    assert write() == []
    assert kept in path.read_text()
    found = values(path)
    assert (found["last_exit_code"], "b" in found, "noise" in path.read_text()) == (0, False, False)


def a_text(path):
    path.write_text("my_own_metric 1\n")


def a_link(path):
    path.with_name("precious").write_text("my_own_metric 1\n")
    path.symlink_to("precious")


def a_file_of_another_key(path):
    path.write_text("# pushgate /metrics/job/backup/a/b\n")


@pytest.mark.parametrize("plant", [a_text, a_link, os.mkfifo, a_file_of_another_key])
def test_a_file_that_is_not_ours_is_not_touched(write, folder, plant):
    path = folder / "backup.prom"
    plant(path)
    before = os.lstat(path)
    (line,) = write("exit 2")
    told = {a_link: "it is a symbolic link", os.mkfifo: "it is not a regular file"}
    assert told.get(plant, "not written by pushgate") in line
    assert os.lstat(path)[:7] == before[:7]
    if plant is a_link:
        assert (folder / "precious").read_text() == "my_own_metric 1\n"


def test_a_full_disk_leaves_the_file_as_it_was_and_no_litter(pushgate, write, folder):
    write()
    before = (folder / "backup.prom").read_bytes()
    argv = pushgate.argv("--textfile", str(folder), "--", "sh", "-c", "exit 2")
    code, _, err = pushgate.run(["sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *argv])
    assert (code, err.count(b"\n")) == (2, 1)
    assert [path.read_bytes() for path in folder.iterdir()] == [before]
