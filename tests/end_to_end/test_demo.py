"""`examples/demo` with the parts that are installed: Celery's always, Airflow's where it is."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.end_to_end

DEMO = Path(__file__).parents[2] / "examples" / "demo" / "demo.py"
NOWHERE = "127.0.0.1:9"
OWN = {  # what a user may have set, each of which would lead the demo to what is theirs
    "PUSHGATE_GATEWAY": NOWHERE,
    "PUSHGATE_OUTBOX": "off",
    "AIRFLOW__PUSHGATE__GATEWAY": NOWHERE,
    "AIRFLOW_CONN_PUSHGATEWAY_DEFAULT": f"http://{NOWHERE}",
    "CELERY_BROKER_URL": f"redis://{NOWHERE}/0",
    "http_proxy": f"http://{NOWHERE}",
}


def test_the_demo_delivers_what_an_outage_held_up_and_touches_nothing_of_the_users(
    tmp_path, tmp_path_factory
):
    state = tmp_path / "state"
    home = tmp_path_factory.mktemp("home")
    (home / "pushgate").mkdir()
    (home / "pushgate" / "config.toml").write_text('token = "file:/nowhere"\noutbox = "off"\n')
    environment = {
        **os.environ,
        **OWN,
        "XDG_CONFIG_HOME": str(home),
        "PUSHGATE_STATE_DIR": str(state),
        "TMPDIR": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, DEMO],
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
    assert "rows_imported_total" in status
    assert 'rows_loaded{instance="",job="backup",origin="job"} 42' in status
    if find_spec("airflow"):
        assert "airflow shop/charge" in status
        assert "items_in_stock" in status
    assert "# what next" in status
    assert not state.exists()
    assert not list(tmp_path.iterdir())
