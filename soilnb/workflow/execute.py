"""Run one notebook with papermill, as a process that ends with the one that began it.

Its one argument is JSON: input_path, output_path and parameters.
"""

import json
import logging
import os
import sys
import threading
from typing import Any

START_TIMEOUTS = (20, 40, 60)  # seconds
NOT_STARTED = ("Kernel didn't respond", "Kernel died before")


def _end_with_parent() -> None:
    """End at once when the other end of standard input is gone."""
    os.read(0, 1)
    os._exit(1)


def _execute(order: dict[str, Any], start_timeout: int) -> None:
    """Run the notebook; give its kernel some seconds to start."""
    # A grammar of addresses that no notebook holds: papermill works without it, and
    # does not wait for two seconds until it is built.
    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]
    import papermill

    logging.getLogger("papermill").setLevel(logging.ERROR)
    papermill.execute_notebook(
        **order,
        progress_bar=False,
        kernel_name="python3",
        start_timeout=start_timeout,
    )


def main() -> None:
    """Execute the notebook that the first argument describes."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    order = json.loads(sys.argv[1])
    for start_timeout in START_TIMEOUTS:
        try:
            _execute(order, start_timeout)
            break
        except RuntimeError as error:
            silent = str(error).startswith(NOT_STARTED)
            if not silent or start_timeout == START_TIMEOUTS[-1]:
                raise


if __name__ == "__main__":
    main()
