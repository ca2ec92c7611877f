"""Prefect's settings are read when it is imported: nothing of the user's, and no server."""

import tempfile
from pathlib import Path

from support import prefect_server

_home = tempfile.TemporaryDirectory(prefix="prefect", ignore_cleanup_errors=True)
prefect_server.use_folder(Path(_home.name))
