"""The four commands of a contributor, which CI calls too: check, test, docs, build.

They run in the environment that is active: ``pip install -e '.[test,docs]'`` makes one.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["check", "test"]
nox.options.error_on_external_run = False

DIST = Path("dist")


@nox.session
def check(session: nox.Session) -> None:
    """Lint, formatting and types."""
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("mypy", "tests/test_typing.py")  # what users may pass, and what they may not


@nox.session
def test(session: nox.Session) -> None:
    """Run the tests. Options after ``--`` are pytest's."""
    session.run(sys.executable, "-m", "pytest", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site into site/. A broken link is an error."""
    session.run("mkdocs", "build", "--strict", env={"NO_MKDOCS_2_WARNING": "true"})


@nox.session
def build(session: nox.Session) -> None:
    """Build wheel, sdist and pushgate.pyz into dist/, and use each in an empty environment."""
    for old in (*DIST.glob("*.whl"), *DIST.glob("*.tar.gz")):
        old.unlink()
    session.run(sys.executable, "-m", "build", "--outdir", str(DIST), silent=True)
    session.run(sys.executable, "scripts/build_pyz.py", str(DIST / "pushgate.pyz"))
    for package in (*DIST.glob("*.whl"), *DIST.glob("*.tar.gz")):
        with tempfile.TemporaryDirectory() as folder:
            session.run(sys.executable, "-m", "venv", "--without-pip", folder)
            pip = [sys.executable, "-m", "pip", "--python", f"{folder}/bin/python"]
            session.run(*pip, "install", "--quiet", f"{package}")
            session.run(sys.executable, "scripts/smoke.py", f"{folder}/bin/pushgate")
    session.run(sys.executable, "scripts/smoke.py", sys.executable, str(DIST / "pushgate.pyz"))
