"""Two tasks, of which one fails."""

try:
    from django.tasks import task
except ImportError:  # before Django 6.0
    from django_tasks import task


@task
def send_receipt(order: int) -> str:
    return f"receipt of order {order}"


@task
def charge(order: int) -> None:
    raise ConnectionError(f"the bank is away: order {order}")
