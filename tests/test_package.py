"""The shape of the package: which way imports point, what importing costs, what is public."""

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import pushgate

# A room may import itself and the rooms before it.
ROOMS = (
    "errors",
    "log",
    "lazy_imports",
    "protocol",
    "transport",
    "gateway",
    "aio",
    "handlers",
    "exposition",
    "jobs",
    "outbox",
    "settings",
    "delivery",
    "relay",
    "prometheus",
    "doctor",
    "embedded",
    "ui",
    "cli",
    "__main__",
)
DOORS = ("aio", "handlers", "exposition", "__main__")
CORE = Path(pushgate.__file__).parent
ADAPTERS = sorted(CORE.parent.glob("pushgate_*/")) or sorted(
    (Path(__file__).parents[1] / "integrations").glob("pushgate_*/")
)
FOREIGN = ("airflow", "apscheduler", "celery", "dagster", "django", "dramatiq", "prefect", "rq")
METRIC_NAME = re.compile(r"batch_job_[a-z]")


@cache
def sources(package):
    """The nodes of each module's tree, the module's own first."""
    paths = sorted(package.rglob("*.py"))
    return {path: tuple(ast.walk(ast.parse(path.read_text()))) for path in paths}


def imports(path, nodes, package):
    """The absolute dotted names that a module imports, ``from x import y`` as x and x.y."""
    parents = (package.name, *path.relative_to(package).parts[:-1])
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = parents[: len(parents) - node.level + 1] if node.level else ()
            base = ".".join((*above, *(node.module or "").split("."))).rstrip(".")
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def test_the_page_on_the_architecture_names_the_rooms_and_modules_that_there_are():
    root = Path(__file__).parents[1]
    page = (root / "docs/architecture.md").read_text()
    rooms = re.findall(r"^\| `(\w+)(?:/|\.py)` \|", page, re.MULTILINE)
    assert rooms == [room for room in ROOMS if room not in DOORS]
    there = [
        f"/{path}" for folder in (CORE, *ADAPTERS, root / "tests") for path in folder.rglob("*.py")
    ]
    named = set(re.findall(r"`([\w/]+\.py)`", page))
    assert {name for name in named if not any(p.endswith(f"/{name}") for p in there)} == set()


def test_imports_of_the_core_point_one_way():
    for path, nodes in sources(CORE).items():
        module = path.relative_to(CORE).parts[0].removesuffix(".py")
        if module == "__init__":
            continue
        assert module in ROOMS, f"{module} is in no room"
        for name in imports(path, nodes, CORE):
            first, _, rest = name.partition(".")
            imported = rest.partition(".")[0]
            if first == "pushgate" and imported in ROOMS:
                assert ROOMS.index(imported) <= ROOMS.index(module), f"{module} imports {imported}"
            assert first not in FOREIGN, f"{path.name} imports {name}"
            assert not first.startswith("pushgate_") or module == "cli", (
                f"{module} imports the adapter {first}"
            )


def test_production_does_not_import_the_embedded_gateway():
    importers = {
        path.relative_to(CORE).as_posix()
        for path, nodes in sources(CORE).items()
        for name in imports(path, nodes, CORE)
        if name.startswith("pushgate.embedded") and "embedded" not in path.parts
    }
    assert importers == {"cli/cmd_gateway.py"}


def literals(nodes):
    """The constants among nodes, without docstrings."""
    statements = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    constants = (node for node in nodes if isinstance(node, ast.Constant))
    return (node.value for node in constants if id(node) not in statements)


@pytest.mark.parametrize("package", [CORE, *ADAPTERS], ids=lambda package: package.name)
def test_metrics_are_named_in_the_vocabulary_and_statuses_compared_in_errors_alone(package):
    for path, nodes in sources(package).items():
        if path.name != "vocabulary.py":
            names = [v for v in literals(nodes) if isinstance(v, str) and METRIC_NAME.search(v)]
            assert not names, f"{path.name} names the metric {names}"
        if path.name == "errors.py" or "embedded" in path.parts:
            continue
        for node in nodes:
            if isinstance(node, ast.Compare):
                numbers = [
                    v for v in literals([*ast.walk(node)]) if type(v) is int and 400 <= v < 600
                ]
                assert not numbers, f"{path.name} compares with the status {numbers}"


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: adapter.name)
def test_an_adapter_imports_public_names_of_the_core_and_no_other_adapter(adapter):
    for path, nodes in sources(adapter).items():
        for name in imports(path, nodes, adapter):
            first, _, rest = name.partition(".")
            assert first == adapter.name or not first.startswith("pushgate_"), (
                f"{path.name} imports {name}"
            )
            if first == "pushgate" and rest:
                assert rest in pushgate.__all__, f"{path.name} imports {name}, which is not public"


def test_every_public_name_is_there_and_known_to_type_checkers():
    (block,) = (
        node
        for node in ast.parse((CORE / "__init__.py").read_text()).body
        if isinstance(node, ast.If)
    )
    ours = [node for node in block.body if node.level]
    for_checkers = {alias.asname for node in ours for alias in node.names}

    assert for_checkers == set(pushgate.__all__)
    for name in pushgate.__all__:
        assert getattr(pushgate, name) is not None
    assert set(pushgate.__all__) <= set(dir(pushgate))
    with pytest.raises(AttributeError, match="no attribute 'push_to_gatway'"):
        _ = pushgate.push_to_gatway


@pytest.mark.parametrize("name", ["pushgate", "pushgate_subprocess"])
def test_importing_does_no_work(name):
    code = f"import sys; old = set(sys.modules); import {name}; print(*set(sys.modules) - old)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(found.stdout.split()) <= {name, "pushgate", "pushgate.lazy_imports", "__future__"}


def test_pushing_our_own_families_imports_neither_prometheus_client_nor_urllib_request():
    code = """if True:
        import sys
        from pushgate import Gateway, GatewayUnreachableError, gauge
        try:
            Gateway("127.0.0.1:1", retries=0).pushadd("j", [gauge("m", "h", 1)])
        except GatewayUnreachableError:
            print(*sys.modules)
    """
    environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert not {"prometheus_client", "urllib.request"} & set(found.stdout.split())


def test_the_pytest_plugin_is_registered():
    (plugin,) = entry_points(group="pytest11", name="pushgate")
    assert plugin.value == "pushgate.embedded.pytest_plugin"


@pytest.mark.skipif(not os.environ.get("CI"), reason="the wheel is what CI tests")
def test_ci_tests_the_installed_wheel():
    assert "site-packages" in CORE.parts


def twice(names):
    return {name for name, count in Counter(names).items() if count > 1}


def test_every_module_and_every_public_class_has_a_name_of_its_own():
    trees = {path: nodes[0] for p in (CORE, *ADAPTERS) for path, nodes in sources(p).items()}
    modules = [path.stem.lstrip("_") for path in trees if not path.stem.startswith("__")]
    classes = [
        node.name
        for tree in trees.values()
        for node in tree.body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]
    assert twice(modules) == set()
    assert twice(classes) == set()
