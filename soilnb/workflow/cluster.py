"""Where the searches compute: threads of this process, or a dask cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dask.distributed import Client

SECONDS_TO_ANSWER = 8


def connect(scheduler: str) -> Client | None:
    """Return a client of the cluster that computes, or None for threads.

    Parameters
    ----------
    scheduler : str
        "" for the threads of this process; "local" for a cluster of processes of this
        computer, one thread each, which ends with the client; or the address of a
        running scheduler, such as "tcp://10.0.0.1:8786".

    Returns
    -------
    dask.distributed.Client or None

    Raises
    ------
    ConnectionError
        If nothing answers at the address within ten seconds.
    """
    if not scheduler:
        return None
    from dask.distributed import Client
    from dask.system import CPU_COUNT

    if scheduler == "local":
        return Client(
            n_workers=CPU_COUNT,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
        )
    try:
        return Client(scheduler, timeout=SECONDS_TO_ANSWER)
    except (OSError, ValueError) as error:
        msg = (
            f"'scheduler' must be the address of a running dask scheduler, got "
            f"{scheduler!r}, where none answers. Start one with 'dask scheduler', or "
            "take 'local'."
        )
        raise ConnectionError(msg) from error
