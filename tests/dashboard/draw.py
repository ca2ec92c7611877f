"""Draws the dashboard, as Grafana would, over a week of some 40 jobs: two pictures.

`python tests/dashboard/draw.py FOLDER` writes full.png and wiped.png. README.md says what it needs.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from dashboard.site import DAY, write_blocks  # noqa: E402
from support import debian  # noqa: E402
from support.prometheus import prometheus  # noqa: E402

_WIDTH = 1460
_BROWSER = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--hide-scrollbars",
)


def main(folder: Path) -> None:
    """Write the pictures into ``folder``."""
    now = time.time() // 600 * 600
    for name in ("full", "wiped"):
        with tempfile.TemporaryDirectory() as place:
            write_blocks(Path(place) / "data", now, wiped=name == "wiped")
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
        ["node", HERE / "draw.cjs", *words], check=True, capture_output=True, text=True
    )
    if "class=error" in (text := page.read_text()):
        raise SystemExit(f"a panel could not be drawn: {text.partition('class=error>')[2][:1000]}")
    browser = debian.require("chromium")
    options = (
        *_BROWSER,
        f"--user-data-dir={place / 'browser'}",
        f"--window-size={_WIDTH},{drawn.stdout.strip()}",
        f"--screenshot={picture.resolve()}",
    )
    subprocess.run([browser, *options, page.as_uri()], check=True, capture_output=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
