"""The shape of the tree: short modules, each with one subject, described in plain English."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = [path for place in ("src", "integrations") for path in (ROOT / place).rglob("*.py")]
MOST_LINES = 250
LONGER = {
    "src/pushgate/errors.py": "one tree of errors, and all that a status means",
    "src/pushgate/gateway/client.py": "the one class that users call, with its docstrings",
    "src/pushgate/gateway/core.py": "all that both gateways do, with its docstrings",
    "src/pushgate/jobs/health.py": "all verdicts with their limits, which stand in one place",
    "src/pushgate/protocol/checks.py": "the rules of what a gateway takes",
    "src/pushgate/protocol/text.py": "the encoder, which checks in one pass",
    "integrations/pushgate_airflow/notifier.py": "the notifier's options, and who reports what",
    "integrations/pushgate_celery/_install.py": "install with its options, and what begins where",
}


def test_a_module_is_short_enough_to_be_read_at_once():
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines()) for path in SOURCES
    }
    too_long = {name: length for name, length in lengths.items() if length > MOST_LINES}
    assert too_long.keys() <= LONGER.keys(), too_long
    assert lengths.keys() >= LONGER.keys(), "LONGER names a module that is gone"


def test_no_docstring_follows_a_formula():
    formula = ("Enters:", "Leaves:")
    found = [path.name for path in SOURCES if any(word in path.read_text() for word in formula)]
    assert found == []
