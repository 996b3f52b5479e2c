"""Where the searches compute: threads of this process, or a dask cluster."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dask.distributed import Client

SECONDS_TO_ANSWER = 3  # twice, at the worst


def connect(scheduler: str) -> Client | None:
    """Return a client of the cluster that computes, or None for threads.

    `scheduler` is "" for the threads of this process; "local" for a cluster of
    processes of this computer, one thread each, which ends with the client; or the
    address of a running scheduler, such as "tcp://10.0.0.1:8786". A ConnectionError if
    nothing answers there within ten seconds.
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
            dashboard_address="127.0.0.1:0",
            silence_logs="ERROR",
        )
    check_reachable(scheduler)
    try:
        return Client(scheduler, timeout=SECONDS_TO_ANSWER)
    except OSError as error:
        raise _unreachable(scheduler) from error


def check_reachable(scheduler: str) -> None:
    """Raise ConnectionError where an address is given and no scheduler answers."""
    if scheduler in ("", "local"):
        return
    try:
        with ThreadPoolExecutor(1) as thread:  # a notebook's own has a running loop
            thread.submit(asyncio.run, _greet(scheduler)).result()
    except (OSError, ValueError, MemoryError) as error:  # of what a stranger says
        raise _unreachable(scheduler) from error


async def _greet(scheduler: str) -> None:
    """Say hello; a client would wait for ever for one who listens and says nothing."""
    from distributed.comm import connect

    greeting = connect(scheduler, timeout=SECONDS_TO_ANSWER)
    comm = await asyncio.wait_for(greeting, SECONDS_TO_ANSWER)
    comm.abort()


def _unreachable(scheduler: str) -> ConnectionError:
    """Return what to say of a scheduler that does not answer."""
    msg = (
        f"'scheduler' must be the address of a running dask scheduler, got "
        f"{scheduler!r}, where none answers. Start one with 'dask scheduler', or take "
        "'local'."
    )
    return ConnectionError(msg)
