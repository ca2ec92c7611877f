"""A code location: one job and its schedule, and a sensor that reports how its runs go."""

import dagster

import pushgate_dagster


@dagster.op
def read_orders() -> int:
    return 42


@dagster.op
def write_report(context: dagster.OpExecutionContext, orders: int) -> None:
    context.log.info("%d orders", orders)


@dagster.job(executor_def=dagster.in_process_executor)
def report() -> None:
    write_report(read_orders())


defs = dagster.Definitions(
    jobs=[report],
    schedules=[dagster.ScheduleDefinition(job=report, cron_schedule="0 6 * * *")],
    sensors=[pushgate_dagster.outcome_sensor(minimum_interval_seconds=1)],
)
