"""Airflow in this process: a home of its own, a database migrated once, DAG files run for real.

``run_dag("id of the DAG")`` runs a DAG of the files in ``dags/`` and returns the finished run.

Airflow reads its environment and makes its home when it is imported, and test modules import it: so
this happens here, before them. Where it is not installed, the modules are skipped; with CI set,
they fail.
"""

import atexit
import os
import shutil
import tempfile
import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest

DAGS = Path(__file__).parent / "dags"
INSTALLED = find_spec("airflow") is not None

# A marker's filters come after the project's "error": what Airflow and its dependencies say of
# themselves fails no test, what pushgate says does, and so does an exception in a thread.
WARNINGS = ("ignore", "error:::pushgate", "error::pytest.PytestUnhandledThreadExceptionWarning")


def _set_up():
    for name in tuple(os.environ):
        if name.startswith(("AIRFLOW", "PUSHGATE_")):
            del os.environ[name]
    home = tempfile.mkdtemp(prefix="pushgate-airflow-")
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    os.environ |= {
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": f"{home}/logs",
        "AIRFLOW__PUSHGATE__TEST_RUNS": "True",  # dag.test() runs the DAGs of these tests
        "PUSHGATE_CONFIG": os.devnull,  # the developer's own file would name a gateway
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import airflow.models
        import airflow.sdk  # noqa: F401


if INSTALLED:
    _set_up()


class NotInstalled(pytest.Module):
    """A test module that is not imported, because it could not be."""

    def collect(self):
        if os.environ.get("CI"):
            raise self.CollectError("Airflow is not installed: pip install '.[test]'")
        pytest.skip("Airflow is not installed: pip install '.[test]'", allow_module_level=True)


@pytest.hookimpl
def pytest_pycollect_makemodule(module_path, parent):
    return None if INSTALLED else NotInstalled.from_parent(parent, path=module_path)


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings(*WARNINGS))
            item.add_marker(pytest.mark.end_to_end)  # it is Airflow that runs the tasks


@pytest.fixture(scope="session")
def airflow_database():
    """The home's SQLite database, migrated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from airflow.utils.db import initdb

        initdb()


@pytest.fixture(scope="session")
def dags(airflow_database):
    """The DAGs of the files in ``dags/``, by id, parsed once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from airflow.dag_processing.dagbag import DagBag

        bag = DagBag(dag_folder=str(DAGS), bundle_name="dags-folder", bundle_path=DAGS)
    assert not bag.import_errors, "\n".join(bag.import_errors.values())
    return dict(bag.dags)


@pytest.fixture
def configure(monkeypatch):
    """Set options of ``[pushgate]``: ``configure(gateway=url, listener=True)``; None unsets."""
    from pushgate_airflow import _configuration

    def reset():
        _configuration.configuration.cache_clear()

    def configure(**options):
        for name, value in options.items():
            variable = f"AIRFLOW__PUSHGATE__{name.upper()}"
            if value is None:
                monkeypatch.delenv(variable, raising=False)
            else:
                monkeypatch.setenv(variable, str(value))
        reset()

    reset()
    yield configure
    monkeypatch.undo()
    reset()


@pytest.fixture
def gateway_url(configure, pushgateway):
    """The embedded gateway's URL, which ``[pushgate] gateway`` names."""
    configure(gateway=pushgateway.url)
    return pushgateway.url


@pytest.fixture
def run_dag(dags):
    """Run a DAG to its end by ``dag.test()``, in this process, and return its DagRun."""

    def run_dag(dag_id, **options):
        return dags[dag_id].test(**options)

    return run_dag
