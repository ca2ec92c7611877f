"""Random sequences of pushes, outages and deaths on real gateways, held against a model.

PUSHGATE_SEQUENCES is how many (80), PUSHGATE_FIRST_SEQUENCE the first seed (0). A failure prints
its seed and its steps; support/model_runner.py runs a seed again.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support import debian

pytestmark = pytest.mark.end_to_end

TESTS = Path(__file__).parents[1]
FIRST = int(os.environ.get("PUSHGATE_FIRST_SEQUENCE", "0"))
COUNT = int(os.environ.get("PUSHGATE_SEQUENCES", "80"))
RUNNERS = 2 * (os.cpu_count() or 1)  # most of the time they wait for time-outs
VERSIONS = {"1.5.1": COUNT // 6, "1.11": COUNT - COUNT // 6}


def runner(version, first, count):
    """The results of every RUNNERS-th sequence, from the process that ran them."""
    options = ["--first", first, "--step", RUNNERS, "--count", count]
    command = [sys.executable, "-m", "support.model_runner", version, *map(str, options)]
    done = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("version", VERSIONS)
def test_after_the_last_flush_the_gateway_holds_what_a_model_does(version):
    debian.require(f"pushgateway-{version}")
    wanted = VERSIONS[version]
    with ThreadPoolExecutor(RUNNERS) as pool:
        counts = [len(range(number, wanted, RUNNERS)) for number in range(RUNNERS)]
        runners = [
            pool.submit(runner, version, FIRST + number, count)
            for number, count in enumerate(counts)
        ]
        results = [result for running in runners for _, result in running.result()]
    divergences = [result for result in results if isinstance(result, str)]
    told = Counter()
    for result in results:
        told.update(result if isinstance(result, dict) else {})
    print(f"\n{version}: {len(results)} sequences, {len(divergences)} divergences; {dict(told)}")
    assert not divergences, "\n\n".join(divergences[:5])
    assert len(results) == wanted
    assert told["arrived"] > 4 * told["kept"], "with the gateway up, hardly anything arrives"
    assert told["kept in an outage"], "nothing was ever kept"
