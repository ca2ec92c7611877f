"""What versions of Airflow from 3.0 on have in different places. Leaves: its classes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException
else:
    try:
        from airflow.sdk import BaseHook
    except ImportError:  # 3.0
        from airflow.hooks.base import BaseHook
    try:
        from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException
    except ImportError:  # 3.0 and 3.1; later ones warn of this place
        from airflow.exceptions import AirflowFailException, AirflowNotFoundException

__all__ = ("AirflowFailException", "AirflowNotFoundException", "BaseHook", "aget_connection")


async def aget_connection(conn_id: str) -> Any:
    """The connection, for an event loop; in Airflow 3.0 by the look-up on a thread."""
    if hasattr(BaseHook, "aget_connection"):
        return await BaseHook.aget_connection(conn_id)
    return await asyncio.to_thread(BaseHook.get_connection, conn_id)
