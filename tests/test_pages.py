"""Each shell and Python block of the pages works as written, or says why it can't be tried.

Blocks of a page run in one folder, on a gateway of the page's own in the place of
``pushgateway.example:9091``. Shell blocks run one by one; the Python of a page runs as one program.
A comment before a block prepares it (``<!-- invisible-code-block: sh``) or says why it is not run
(``<!-- skip: next "the reason" -->``).
"""

import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from unittest import SkipTest

import pytest
from sybil.document import Document
from sybil.parsers.markdown import CodeBlockParser, SkipParser

from pushgate import Gateway
from pushgate.embedded import EmbeddedGateway
from support.frameworks import is_missing

ROOT = Path(__file__).parent.parent
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "RELEASING.md",
    "SECURITY.md",
    *(
        str(page.relative_to(ROOT))
        for page in sorted((ROOT / "docs").rglob("*.md"))
        if page.name != "tutorial.md"  # tests/end_to_end/test_tutorial.py
    ),
]
SHOWN = "pushgateway.example:9091"


class Page:
    """Runs the blocks of one page."""

    def __init__(self, folder, gateway):
        self.folder = folder
        self.gateway = gateway
        self.python = ""
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "XDG_CONFIG_HOME": str(folder / ".config"),
            "PUSHGATE_STATE_DIR": str(folder / "state"),
            "PUSHGATE_GATEWAY": f"http://{gateway}",
        }

    def shell(self, example):
        self.run("bash", "-euo", "pipefail", "-c", self._source(example), line=example.line)

    def collect(self, example):
        """Add a block of Python at its own line, so that a traceback names the page's."""
        self.python += "\n" * (example.line - 1 - self.python.count("\n")) + self._source(example)

    def run_python(self, page):
        if self.python:
            (self.folder / "page.py").write_text(self.python, encoding="utf-8")
            self.run(sys.executable, str(self.folder / "page.py"), line=0, what=page)

    def _source(self, example):
        return str(example.parsed).replace(SHOWN, self.gateway)

    def run(self, *argv, line, what=""):
        done = subprocess.run(
            argv,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{what or f'line {line}'}: {done.returncode}\n{done.stdout}"


@pytest.mark.end_to_end  # once is enough, and on the Python that has Airflow
@pytest.mark.parametrize("name", [page for page in PAGES if not is_missing(Path(page).stem)])
def test_the_blocks_of_a_page_work(name, tmp_path):
    with EmbeddedGateway() as gateway:
        page = Page(tmp_path, gateway.url.removeprefix("http://"))
        document = Document.parse(
            str(ROOT / name),
            CodeBlockParser("sh", page.shell),
            CodeBlockParser("python", page.collect),
            SkipParser(),
        )
        for example in document.examples():
            with suppress(SkipTest):  # its reason is looked at below
                example.evaluate()
        page.run_python(name)


def test_the_command_of_the_cronjob_works(tmp_path):
    manifest = (ROOT / "examples/kubernetes/cronjob.yaml").read_text(encoding="utf-8")
    [block] = re.findall(r" command:\n((?: +- .*\n)+)", manifest)
    words = re.findall(r"- (.*)", block)[1:]  # after the path of pushgate in the image
    with EmbeddedGateway() as gateway:
        page = Page(tmp_path, gateway.url.removeprefix("http://"))
        page.run("pushgate", *words, "true", line=0, what="cronjob.yaml")
        [group] = Gateway(gateway.url).groups()
    assert group.value("batch_job_last_run_success") == 1


@pytest.mark.parametrize("name", PAGES)
def test_what_is_not_run_has_its_reason_and_each_block_its_language(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    for directive in re.findall(r"<!--+ *skip: *(.*?) *-->", text):
        assert re.fullmatch(r'(next|start) "[^"]{10,}"|end', directive), directive
    fences = re.findall(r"^ *```(.*)$", text, re.MULTILINE)
    assert all(fences[::2]), f"a block of {name} has no language: 'text' where it is none"
