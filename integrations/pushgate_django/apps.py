"""The app that INSTALLED_APPS names: it reports the tasks of django.tasks and django-tasks."""

from django.apps import AppConfig

from pushgate_django import install


class PushgateDjangoConfig(AppConfig):  # type: ignore[misc]  # Django ships no types
    """Hooks the signals of tasks in each process; nothing is read before a task starts."""

    name = "pushgate_django"

    def ready(self) -> None:
        install()
