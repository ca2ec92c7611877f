import pytest

from pushgate_subprocess import job


def load(rows, gateway):
    with job("loader", gateway=gateway) as run:
        if rows < 0:
            raise ValueError("no rows")
        run.gauge("rows_loaded").set(rows)


@pytest.fixture(autouse=True)
def _own_state(tmp_path, monkeypatch):
    monkeypatch.setenv("PUSHGATE_STATE_DIR", str(tmp_path))


def test_a_load_reports_its_rows(pushgateway):
    load(42, pushgateway.url)
    pushgateway.assert_pushed("rows_loaded", 42, job="loader")
    pushgateway.assert_pushed("batch_job_last_run_success", 1, job="loader")


def test_a_load_that_fails_keeps_the_last_success(pushgateway):
    load(42, pushgateway.url)
    succeeded = pushgateway.value("batch_job_last_success_timestamp_seconds", job="loader")

    with pytest.raises(ValueError, match="no rows"):
        load(-1, pushgateway.url)

    pushgateway.assert_pushed("batch_job_last_run_success", 0, job="loader")
    pushgateway.assert_pushed("batch_job_last_success_timestamp_seconds", succeeded, job="loader")
