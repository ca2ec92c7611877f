"""A headless Chromium, led by the DevTools protocol over a pipe.

https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support import debian

PATIENCE = 60.0  # seconds
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--remote-debugging-pipe"),
)


class Browser:
    """One tab. ``problems`` are what its console was told, such as a broken policy."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands = os.fdopen(commands, "wb", buffering=0)
        self._answers = os.fdopen(answers, "rb")
        self._number = 0
        self._session: str | None = None
        self.problems: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def close(self) -> None:
        self._commands.close()
        self._answers.close()

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command. Events that come before it are looked at for problems."""
        self._number += 1
        command = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        self._commands.write(json.dumps(command).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer}"
                return answer["result"]
            if answer.get("method") == "Log.entryAdded":
                self.problems.append(answer["params"]["entry"]["text"])
            elif answer.get("method") == "Runtime.exceptionThrown":
                self.problems.append(str(answer["params"]))

    def _next(self) -> dict[str, Any]:
        text = bytearray()
        while not text.endswith(b"\0"):
            piece = self._answers.read1(1) if not text else self._read_on()
            assert piece, "the browser has ended"
            text += piece
        return json.loads(text[:-1])

    def _read_on(self) -> bytes:
        # Up to the end of this message: what is behind it stays in the buffer.
        ready = self._answers.peek(1)
        end = ready.find(b"\0")
        return self._answers.read(len(ready) if end < 0 else end + 1)

    def open(self, url: str) -> None:
        self.send("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def evaluate(self, expression: str) -> Any:
        result = self.send(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def until(self, expression: str, *, passing: float = 0) -> None:
        """Return once the expression is true in the page.

        Each time that it is not, so many seconds pass at once for the page's timers.
        """
        due = time.monotonic() + PATIENCE
        while not self.evaluate(expression):
            assert time.monotonic() < due, f"it never came: {expression}"
            if passing:
                policy = "pauseIfNetworkFetchesPending"
                self.send("Emulation.setVirtualTimePolicy", policy=policy, budget=passing * 1000)
            time.sleep(0.1)

    def type(self, text: str) -> None:
        """As the keyboard does, into what has the focus."""
        for char in text:
            self.send("Input.dispatchKeyEvent", type="keyDown", text=char, key=char)
            self.send("Input.dispatchKeyEvent", type="keyUp", key=char)

    def show_as(self, scheme: str, width: int, height: int) -> None:
        """``scheme`` is dark or light."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.send("Emulation.setEmulatedMedia", features=features)
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    def picture(self, path: Path) -> None:
        data = self.send("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(data))


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """`with browser(tmp_path) as tab:`, with a profile of its own in the folder."""
    binary = debian.require("chromium")
    commands, to_browser = os.pipe()
    from_browser, answers = os.pipe()

    def at_3_and_4() -> None:  # where Chromium looks for the pipe
        high = [os.dup(commands), os.dup(answers)]
        os.dup2(high[0], 3)
        os.dup2(high[1], 4)

    process = subprocess.Popen(
        [binary, *_FLAGS, f"--user-data-dir={folder / 'profile'}", "about:blank"],
        env=debian.environment("chromium"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        close_fds=False,
        preexec_fn=at_3_and_4,  # noqa: PLW1509 - it only moves descriptors
    )
    os.close(commands)
    os.close(answers)
    tab = Browser(to_browser, from_browser)
    try:
        yield tab
    finally:
        tab.close()
        process.kill()
        process.wait()
