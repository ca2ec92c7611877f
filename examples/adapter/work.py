"""Two tasks, of which one fails, reported to the gateway that PUSHGATE_GATEWAY names."""

import pushgate_taskline
from taskline import Line


def load() -> dict[str, float]:
    return {"rows_loaded": 42}


def report() -> None:
    raise RuntimeError("the template is missing")


if __name__ == "__main__":
    line = Line()
    uninstall = pushgate_taskline.install(line)
    line.run(load)
    line.run(report)
    uninstall()
