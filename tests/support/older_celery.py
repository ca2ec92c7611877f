"""The Celery that Airflow's provider for it can import, beside a newer one.

Out: folders to go before all others on PYTHONPATH. apache-airflow-providers-celery 3.26 imports
`retry` of `celery.backends.database`, which Celery 5.7 no longer has, and yet allows that version.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from support import debian

WANTED = ("celery<5.7", "kombu<5.7")
STEP_TIMEOUT = 240.0  # seconds, for one pip command


def require() -> list[str]:
    """As debian.require: what can't be had skips the test, and fails it where CI is set."""
    import pytest

    spec = importlib.util.find_spec("celery.backends.database")
    if spec and spec.origin and "def retry(" in Path(spec.origin).read_text():
        return []
    try:
        return [str(_installed())]
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or error
        if os.environ.get("CI"):
            pytest.fail(f"{WANTED}: {said}", pytrace=False)
        pytest.skip(f"{WANTED}: {said}")


def _installed() -> Path:
    debian.CACHE.mkdir(parents=True, exist_ok=True)
    found = debian.CACHE / f"older-celery-python{sys.version_info[0]}.{sys.version_info[1]}"
    if not found.exists():  # it is renamed into place complete
        partial = Path(tempfile.mkdtemp(prefix="celery", dir=debian.CACHE))
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        try:
            subprocess.run(
                [*pip, "--target", str(partial / "packages"), *WANTED],
                capture_output=True,
                text=True,
                timeout=STEP_TIMEOUT,
                check=True,
            )
            (partial / "packages").rename(found)
        finally:
            shutil.rmtree(partial)
    return found
