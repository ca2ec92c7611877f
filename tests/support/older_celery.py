"""Older Celerys beside the newer one, as folders to go before all others on PYTHONPATH.

Airflow's: apache-airflow-providers-celery 3.26 imports `retry` of `celery.backends.database`, which
Celery 5.7 no longer has, and yet allows that version. And releases that the adapter supports, with
the kombu and billiard of their time.
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
    spec = importlib.util.find_spec("celery.backends.database")
    if spec and spec.origin and "def retry(" in Path(spec.origin).read_text():
        return []
    return _required(f"older-celery-python{_PYTHON}", WANTED)


def release(version: str) -> list[str]:
    """The same for a release such as "5.4"."""
    packages = (f"celery=={version}.*", f"kombu=={version}.*", "billiard==4.2.*")
    return _required(f"older-celery-{version}-python{_PYTHON}", packages)


_PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


def _required(name: str, packages: tuple[str, ...]) -> list[str]:
    import pytest

    try:
        return [str(_installed(name, packages))]
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or error
        if os.environ.get("CI"):
            pytest.fail(f"{packages}: {said}", pytrace=False)
        pytest.skip(f"{packages}: {said}")


def _installed(name: str, packages: tuple[str, ...]) -> Path:
    debian.CACHE.mkdir(parents=True, exist_ok=True)
    found = debian.CACHE / name
    if not found.exists():  # it is renamed into place complete
        partial = Path(tempfile.mkdtemp(prefix="celery", dir=debian.CACHE))
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        try:
            subprocess.run(
                [*pip, "--target", str(partial / "packages"), *packages],
                capture_output=True,
                text=True,
                timeout=STEP_TIMEOUT,
                check=True,
            )
            (partial / "packages").rename(found)
        finally:
            shutil.rmtree(partial)
    return found
