"""PostgreSQL on a loopback port, for the length of a `with` block.

The block gets a URL for SQLAlchemy, of an empty database. Nothing of it stays afterwards.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from support import debian
from support.servers import Server, ServerError

STEP_TIMEOUT = 60.0  # seconds; making a database takes 1 s
NOBODY = 65534


@contextmanager
def postgresql(driver: str = "psycopg2") -> Iterator[str]:
    """`with postgresql() as url:`, for the user postgres, whom the server trusts."""
    binary = debian.require("postgresql").resolve()
    environment = debian.environment("postgresql")
    with tempfile.TemporaryDirectory(prefix="postgresql") as name:
        folder = Path(name)
        as_user = _as_somebody_else(folder)
        if as_user and not _runs([*as_user, binary, "--version"], environment):
            binary, environment = _copied(binary, environment, folder)
        data = folder / "data"

        def run(command: str, *arguments: str) -> None:
            done = subprocess.run(
                [*as_user, binary.with_name(command), "-D", data, *arguments],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=STEP_TIMEOUT,
                check=False,
            )
            if done.returncode != 0:
                raise ServerError(f"{command} failed: {done.stdout}{done.stderr}")

        run("initdb", *("-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"))
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "full_page_writes": "off",
            "jit": "off",  # which the unpacked packages lack
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        server = Server(
            lambda port: [*as_user, binary, "-D", data, "-p", str(port), *options],
            "database system is ready to accept connections",
            environment,
        )
        try:
            yield f"postgresql+{driver}://postgres@127.0.0.1:{server.port}/postgres"
        finally:
            # A kill would leave its shared memory in the kernel.
            run("pg_ctl", "stop", "-m", "immediate")
            server.kill()


def _as_somebody_else(folder: Path) -> list[str]:
    """What goes before a command: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return []
    os.chown(folder, NOBODY, NOBODY)
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]


def _runs(command: list[str | Path], environment: Mapping[str, str]) -> bool:
    done = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)
    return done.returncode == 0


def _copied(binary: Path, environment: dict[str, str], folder: Path) -> tuple[Path, dict[str, str]]:
    """For a user who may not enter the folders above the cache; it finds its files from there."""
    root = debian.CACHE / "postgresql"
    shutil.copytree(root, folder / "root", symlinks=True)
    moved = {
        name: value.replace(str(root), str(folder / "root")) for name, value in environment.items()
    }
    return folder / "root" / binary.relative_to(root), moved
