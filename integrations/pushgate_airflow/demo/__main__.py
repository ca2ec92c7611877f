"""One run of the DAG in ``dags``, in an Airflow of its own.

Enters: that Airflow's folder, as the argument, a line on stdin as the signal to begin, and the
gateway from the environment. Leaves: exit code 0 when the run ended as it should.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_DAGS = Path(__file__).with_name("dags")


def main(folder: str) -> int:
    """Run the DAG in this process."""
    os.environ |= {
        "AIRFLOW_HOME": folder,
        "AIRFLOW__CORE__DAGS_FOLDER": str(_DAGS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{os.path.join(folder, 'airflow.db')}",
        "AIRFLOW__PUSHGATE__LISTENER": "True",
    }
    from airflow.dag_processing.dagbag import DagBag
    from airflow.utils.db import initdb

    initdb()
    dag = DagBag(_DAGS, bundle_name="dags-folder", bundle_path=_DAGS).dags["shop"]
    sys.stdin.readline()
    run = dag.test()
    return 0 if run.state == "failed" else 1  # the order is declined


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
