"""Run one notebook with papermill, as a process that ends with the one that began it.

Its one argument is JSON: input, output and parameters.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading


def _end_with_parent() -> None:
    """End at once when the other end of standard input is gone."""

    def watch() -> None:
        os.read(0, 1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    """Execute the notebook named in the first argument."""
    _end_with_parent()
    import papermill

    logging.getLogger("papermill").setLevel(logging.ERROR)
    order = json.loads(sys.argv[1])
    papermill.execute_notebook(
        order["input"],
        order["output"],
        parameters=order["parameters"],
        progress_bar=False,
        kernel_name="python3",
    )


if __name__ == "__main__":
    main()
