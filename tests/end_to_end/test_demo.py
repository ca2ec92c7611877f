"""`pushgate demo`, with whatever part is installed: Celery's always, Airflow's where it is."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

pytestmark = pytest.mark.end_to_end


def test_the_demo_delivers_what_an_outage_held_up_and_leaves_nothing_behind(tmp_path):
    state = tmp_path / "state"
    environment = {**os.environ, "PUSHGATE_STATE_DIR": str(state), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "pushgate", "demo"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    out = done.stdout
    assert done.returncode == 0, out + done.stderr
    assert "it waits in the outbox" in done.stderr
    listed, delivered = out.index("flush --list"), out.index("groups delivered")
    assert listed < delivered < out.index("$ pushgate status")
    status = out[out.index("$ pushgate status") :]
    assert "failed (exit 3)" in status
    assert "celery shop.charge" in status
    assert 'celery_task_finished_total{exception="ValueError"' in status
    assert 'rows_loaded{instance="",job="backup",origin="job"} 42' in status
    if find_spec("airflow"):
        assert "airflow shop/charge" in status
        assert "items_in_stock" in status
    assert not state.exists()
    assert not list(tmp_path.iterdir())
