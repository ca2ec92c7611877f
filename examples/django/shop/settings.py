"""The settings of a small shop. The gateway is the one in PUSHGATE_GATEWAY."""

import os

SECRET_KEY = os.environ.get("SHOP_SECRET_KEY", "an example's")
USE_TZ = True
INSTALLED_APPS = ["django_tasks_db", "pushgate_django", "shop"]
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["SHOP_DATABASE"]}
}
TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
PUSHGATE = {"job": "shop"}
