"""Server binaries for tests, from PATH or unpacked from Debian's packages.

In: the name of an entry in TOOLS. Out: the path of a binary of a fitting version. Packages come
from the mirror in the machine's own apt sources, through a private apt state, so neither root nor
an earlier `apt-get update` is needed and nothing on the machine changes. They are unpacked into
$PUSHGATE_TEST_CACHE, else <repo>/.cache/servers.

    python -m support.debian --all      (from tests/) fetches everything ahead of the tests
"""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(
    os.environ.get("PUSHGATE_TEST_CACHE") or Path(__file__).parents[2] / ".cache" / "servers"
)
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
STEP_TIMEOUT = 240.0  # seconds, for one apt command


class ToolUnavailableError(RuntimeError):
    """Neither PATH nor Debian's packages gave a binary that fits; the text says why."""


@dataclass(frozen=True)
class Tool:
    suite: str  # of Debian
    package: str
    commands: tuple[str, ...]  # names to look for on PATH
    binary: str  # inside the unpacked package
    minimum: tuple[int, int, int]
    below: tuple[int, int, int] | None = None

    def fits(self, version: tuple[int, int, int] | None) -> bool:
        return (
            version is not None
            and version >= self.minimum
            and (self.below is None or version < self.below)
        )


_PUSHGATEWAY_COMMANDS = ("pushgateway", "prometheus-pushgateway")

TOOLS = {
    "pushgateway-1.5.1": Tool(
        suite="bookworm",
        package="prometheus-pushgateway",
        commands=_PUSHGATEWAY_COMMANDS,
        binary="usr/bin/prometheus-pushgateway",
        minimum=(1, 5, 1),
        below=(1, 5, 2),
    ),
    # Debian's 1.11.0 (trixie) panics while logging a rejected push. sid's binary is static enough
    # to run on bookworm.
    "pushgateway-1.11": Tool(
        suite="sid",
        package="prometheus-pushgateway",
        commands=_PUSHGATEWAY_COMMANDS,
        binary="usr/bin/prometheus-pushgateway",
        minimum=(1, 11, 2),
    ),
}

_found: dict[str, Path | ToolUnavailableError] = {}


def find(name: str) -> Path:
    """The binary of TOOLS[name]. Raises ToolUnavailableError; the answer holds for the process."""
    if name not in _found:
        try:
            _found[name] = _on_path(TOOLS[name]) or _cached(name, TOOLS[name])
        except ToolUnavailableError as error:
            _found[name] = error
    found = _found[name]
    if isinstance(found, ToolUnavailableError):
        raise found
    return found


def require(name: str) -> Path:
    """As find; a missing tool skips the test, and fails it where CI is set."""
    import pytest  # this module also runs as a script, without pytest

    try:
        return find(name)
    except ToolUnavailableError as error:
        if os.environ.get("CI"):
            pytest.fail(f"{name}: {error}", pytrace=False)
        pytest.skip(f"{name}: {error}")


def _on_path(tool: Tool) -> Path | None:
    for command in tool.commands:
        path = shutil.which(command)
        if path and tool.fits(_version(Path(path))):
            return Path(path)
    return None


def _cached(name: str, tool: Tool) -> Path:
    binary = CACHE / name / tool.binary
    if binary.exists():  # the folder is renamed into place complete
        return binary
    CACHE.mkdir(parents=True, exist_ok=True)
    with _locked(CACHE / ".lock"):
        if binary.exists():  # a concurrent caller was faster
            return binary
        for stale in CACHE.glob("partial-*"):  # of a crashed holder of the lock
            shutil.rmtree(stale)
        partial = Path(tempfile.mkdtemp(prefix="partial-", dir=CACHE))
        try:
            _unpack(tool, partial / "apt", partial / "root")
            version = _version(partial / "root" / tool.binary)
            if not tool.fits(version):
                raise ToolUnavailableError(f"Debian {tool.suite} has {tool.package} {version}")
            (partial / "root").rename(CACHE / name)
        finally:
            shutil.rmtree(partial)
    return binary


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _unpack(tool: Tool, state: Path, root: Path) -> None:
    for folder in ("lists/partial", "cache/archives/partial", "deb"):
        (state / folder).mkdir(parents=True)
    sources = state / "sources.list"
    sources.write_text(_source_line(tool.suite))
    options = {
        "Dir::State": state,
        "Dir::State::lists": state / "lists",
        "Dir::State::status": "/dev/null",
        "Dir::Cache": state / "cache",
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "-",
        "Acquire::Languages": "none",
        "Acquire::Retries": "2",
        "Acquire::http::Timeout": "30",
        # As root, apt would download as a user who may not enter this folder.
        "APT::Sandbox::User": "root",
    }
    apt = ["apt-get", "-qq", *(f"-o{key}={value}" for key, value in options.items())]
    _run([*apt, "update"], cwd=state)
    _run([*apt, "download", tool.package], cwd=state / "deb")
    for package in (state / "deb").glob("*.deb"):
        _run(["dpkg-deb", "-x", str(package), str(root)], cwd=state)


def _source_line(suite: str) -> str:
    """The machine's own mirror, with another suite."""
    release = dict(
        line.split("=", 1)
        for line in _read(Path("/etc/os-release")).splitlines()
        if line.count("=") == 1
    )
    if release.get("ID") != "debian":
        raise ToolUnavailableError("not on PATH, and packages are only taken on Debian")
    own = {release.get("VERSION_CODENAME"), "stable", "testing", "unstable", "sid"}
    # What `apt-get indextargets` knows is empty until the first update; this is not.
    listing = _run(["apt-get", "update", "--print-uris"], cwd=Path("/"))
    for mirror, name in re.findall(r"^'(\S+)/dists/([^/']+)/InRelease'", listing, re.MULTILINE):
        if name in own:
            option = f"[signed-by={KEYRING}] " if KEYRING.exists() else ""
            return f"deb {option}{mirror} {suite} main\n"
    raise ToolUnavailableError("the machine's apt sources name no Debian mirror")


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _version(binary: Path) -> tuple[int, int, int] | None:
    try:
        output = _run([str(binary), "--version"], cwd=binary.parent)
    except ToolUnavailableError:
        return None
    match = re.search(r"\b(\d+)\.(\d+)\.(\d+)", output)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def _run(command: list[str], cwd: Path) -> str:
    try:
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, timeout=STEP_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolUnavailableError(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        raise ToolUnavailableError(f"{command[0]} failed: {done.stderr.strip()[-500:]}")
    return done.stdout + done.stderr


def main() -> None:
    parser = argparse.ArgumentParser(description="Fetch server binaries for tests.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(TOOLS))
    parser.add_argument("--all", action="store_true", help="fetch every one")
    arguments = parser.parse_args()
    names = list(TOOLS) if arguments.all else arguments.names
    if not names or not set(names) <= set(TOOLS):
        parser.error(f"name some of {', '.join(TOOLS)}, or --all")
    for name in names:
        print(f"{name}: {find(name)}")


if __name__ == "__main__":
    main()
