"""The inhibit rules for Alertmanager: of two alerts that say the same, one is sent."""

from __future__ import annotations

INHIBIT_RULES = """\
# Inhibit rules for pushgate's alerts, made by 'pushgate rules --alertmanager'. Add them to those in
# alertmanager.yml: of two alerts that tell of one fault, the one that says more is sent.
inhibit_rules:
  # A task failed, is stuck or is killed, and so its DAG's run.
  - source_matchers: [task_id!="", alertname=~"BatchJob(Failed|NeverSucceeded)"]
    target_matchers: [dag_id!="", task_id="", alertname=~"BatchJob(Failed|NeverSucceeded)"]
    equal: [gateway, job, dag_id]
  - source_matchers: [task_id!="", alertname=~"BatchJob(StuckRunning|EndsMissing)"]
    target_matchers: [dag_id!="", task_id="", alertname=~"BatchJob(StuckRunning|EndsMissing)"]
    equal: [gateway, job, dag_id]
  # A DAG has missed a run, and so all of its tasks.
  - source_matchers: [dag_id!="", task_id="", alertname="BatchJobMissed"]
    target_matchers: [task_id!="", alertname="BatchJobMissed"]
    equal: [gateway, job, dag_id]
  # A worker is gone, and with it the task that it ran.
  - source_matchers: [alertname=~"CeleryWorker(Crashed|Silent)"]
    target_matchers: [alertname="CeleryTaskRunsTooLong"]
    equal: [gateway, job, instance]
"""
