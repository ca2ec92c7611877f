"""Use an installed pushgate as a user would: a gateway, a job, its verdict.

    python scripts/smoke.py COMMAND [ARGUMENT …]

The words are what starts pushgate, such as ``.venv/bin/pushgate`` or ``python3 pushgate.pyz``.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

RUN_RESULTS = Path(__file__).parents[1] / "examples/dbt/run_results.json"


def smoke(pushgate: list[str]) -> None:
    """Run each step.

    Raises:
        subprocess.CalledProcessError: a step failed.
        RuntimeError: a step printed something else than it should.
    """
    with tempfile.TemporaryDirectory() as state:
        gateway = subprocess.Popen(
            [*pushgate, "gateway", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True
        )
        try:
            assert gateway.stdout is not None
            [url] = re.findall(r"http://[\d.:]+", gateway.stdout.readline())
            environment = {**os.environ, "PUSHGATE_GATEWAY": url, "PUSHGATE_STATE_DIR": state}

            def step(*words: str) -> str:
                command = [*pushgate, *words]
                done = subprocess.run(
                    command, env=environment, check=True, stdout=subprocess.PIPE, text=True
                )
                return done.stdout

            print(step("--version").strip(), "by", *pushgate)
            script = 'echo "rows 3" >>"$PUSHGATE_METRICS_FILE"; echo done'
            if step("run", "--job", "smoke", "--", "sh", "-c", script) != "done\n":
                raise RuntimeError("the output of the command was changed")
            if "1 job, all well" not in step("status"):
                raise RuntimeError("status does not call the job well")
            step("dbt", str(RUN_RESULTS), "--max-age", "36500d")
            step("rules")
            step("dashboard")
        finally:
            gateway.terminate()
            gateway.wait()


if __name__ == "__main__":
    smoke(sys.argv[1:])
