"""Build ``pushgate.pyz``: command line and library in one file, for any Python from 3.11 on.

    python scripts/build_pyz.py [dist/pushgate.pyz]

pip installs the checkout, prometheus_client and what the command line may need (cronsim, shtab)
into a folder, and the standard library's zipapp packs that. All of it is pure Python, so the file
runs on any system that has a Python.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipapp
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent


def build(target: Path) -> None:
    """Write the archive to ``target``; its folder is made where it is missing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile"]
        subprocess.run([*pip, "--target", folder, f"{CHECKOUT}[cli]"], check=True)
        adapters = {path.name for path in Path(folder).glob("pushgate_*")}
        for needless in ("bin", *adapters - {"pushgate_dbt", "pushgate_subprocess"}):
            shutil.rmtree(Path(folder, needless))
        zipapp.create_archive(
            folder,
            archive := target.with_suffix(".new"),
            interpreter="/usr/bin/env python3",
            main="pushgate.cli:main",
            compressed=True,
        )
    archive.replace(target)  # who uses it meanwhile has the whole of one
    target.chmod(0o755)  # zipapp lets its owner alone run it, and a container's user is another


if __name__ == "__main__":
    build(Path(sys.argv[1]) if len(sys.argv) > 1 else CHECKOUT / "dist/pushgate.pyz")
