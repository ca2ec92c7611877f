"""What mkdocs makes of the checkout itself: two pages, and links to files outside of docs/."""

from __future__ import annotations

import contextlib
import io
import os
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from pushgate.cli import COMMANDS, main

_CHECKOUT = Path(__file__).parent.parent
_CLI = """\
# Command line

What each command says of itself, by `--help`. Most take their [settings](settings.md) from flags,
the environment or a file.

"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the reference of the command line, from its help, and CONTRIBUTING.md."""
    commands = [("pushgate", ()), *((f"pushgate {name}", (name,)) for name in COMMANDS)]
    cli = _CLI + "".join(f"## {title}\n\n```text\n{_help(*w)}```\n\n" for title, w in commands)
    contributing = (_CHECKOUT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for path, text in (
        ("reference/cli.md", cli),
        ("contributing.md", contributing.replace("](docs/", "](")),
    ):
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_: object) -> str:
    """Let links to the checkout's other files point to the repository."""

    def repository(link: re.Match[str]) -> str:
        folder = "." if page.file.src_uri == "contributing.md" else f"docs/{page.file.src_uri}/.."
        path = os.path.normpath(f"{folder}/{link[1]}")
        outside = not path.startswith("docs/") and (_CHECKOUT / path).exists()
        return f"]({config.repo_url}/tree/main/{path})" if outside else link[0]

    return re.sub(r"\]\(([\w./-]+)\)", repository, markdown)


def _help(*words: str) -> str:
    """What ``pushgate WORDS --help`` prints."""
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
        main([*words, "--help"])
    return printed.getvalue()
