"""Draws the dashboard, as Grafana would, over a week of some 40 jobs: two pictures.

`python scripts/pictures/draw_dashboard.py FOLDER` writes dashboard.png and dashboard-wiped.png.
README.md says what it needs.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "tests"))

from week_of_jobs import DAY, write_blocks  # noqa: E402

from support.browser import browser  # noqa: E402
from support.prometheus import prometheus  # noqa: E402

_WIDTH = 1460


def main(folder: Path) -> None:
    """Write the pictures into ``folder``."""
    now = time.time() // 600 * 600
    for name in ("dashboard", "dashboard-wiped"):
        with tempfile.TemporaryDirectory() as place:
            write_blocks(Path(place) / "data", now, wiped=name.endswith("wiped"))
            with prometheus(Path(place), "") as server:
                url = f"http://127.0.0.1:{server.port}"
                draw(Path(place), url, now, folder / f"{name}.png")


def draw(place: Path, url: str, now: float, picture: Path) -> None:
    """One picture of what the Prometheus at ``url`` has ``now``; ``place`` is for files."""
    printed = subprocess.run(
        [sys.executable, "-m", "pushgate", "dashboard"], check=True, capture_output=True
    )
    (place / "dashboard.json").write_bytes(printed.stdout)
    page = place / "page.html"
    words = [place / "dashboard.json", page, url, f"{now:.0f}", f"{DAY:.0f}"]
    drawn = subprocess.run(
        ["node", HERE / "draw_panels.cjs", *words], check=True, capture_output=True, text=True
    )
    if "class=error" in (text := page.read_text()):
        raise SystemExit(f"a panel could not be drawn: {text.partition('class=error>')[2][:1000]}")
    with browser(place) as tab:
        tab.show_as("dark", _WIDTH, int(drawn.stdout))
        tab.open(page.as_uri())
        tab.picture(picture)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
