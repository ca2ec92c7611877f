"""The demo's Airflow: one run of the DAG in `dags`. Ends with 0 when the run failed, as it should.

The argument is a folder for Airflow's files. The gateway is $PUSHGATE_GATEWAY. It begins when it
reads a line from stdin.
"""

import os
import sys
from pathlib import Path

DAGS = Path(__file__).with_name("dags")


def main(folder: str) -> int:
    os.environ |= {
        "AIRFLOW_HOME": folder,
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{os.path.join(folder, 'airflow.db')}",
        "AIRFLOW__PUSHGATE__LISTENER": "True",
        "AIRFLOW__PUSHGATE__TEST_RUNS": "True",  # dag.test() is no real run
    }
    from airflow.dag_processing.dagbag import DagBag
    from airflow.utils.db import initdb

    initdb()
    dag = DagBag(DAGS, bundle_name="dags-folder", bundle_path=DAGS).dags["shop"]
    sys.stdin.readline()
    return 0 if dag.test().state == "failed" else 1  # its task charge fails


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
