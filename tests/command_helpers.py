"""The command, a notebook and a line of Python, run as a user runs them."""

import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from subprocess import CompletedProcess

import psutil
import pytest

from soilnb.__main__ import main
from soilnb.workflow.steps import notebook_path


def run(*words, **options):
    """Run a program to its end; return its outcome."""
    return subprocess.run(
        [*map(str, words)], capture_output=True, text=True, check=False, **options
    )


def command(*words):
    """Run the command in a process of its own, as a user does."""
    return run(sys.executable, "-m", "soilnb", *words)


def soilnb(*words):
    """Run the command in this process, where nothing need be imported again."""
    said, told = StringIO(), StringIO()
    with (
        redirect_stdout(said),
        redirect_stderr(told),
        pytest.MonkeyPatch.context() as m,
    ):
        m.setattr(sys, "argv", ["soilnb", *map(str, words)])
        try:
            code = main()
        except SystemExit as end:
            code = end.code
    return CompletedProcess(words, code or 0, said.getvalue(), told.getvalue())


def python(code, *words, **options):
    """Run some lines of Python in another process."""
    return run(sys.executable, "-c", code, *words, **options)


def papermill(step, output, **parameters):
    """Run one notebook with plain papermill."""
    script = Path(sys.executable).with_name("papermill")
    given = [text for pair in parameters.items() for text in ("-p", *pair)]
    return run(script, notebook_path(step), output, *given)


def begin(*words):
    """Start a run of the command, and do not wait for it."""
    return subprocess.Popen(
        [sys.executable, "-m", "soilnb", "run", *map(str, words)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition, seconds=600):
    """Wait until something is true, and return it."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.002)
    return found


def kill(process):
    """Kill a run and wait until nothing of it is left; return what it had started."""
    children = psutil.Process(process.pid).children(recursive=True)
    started = []
    for child in children:
        with suppress(psutil.NoSuchProcess):  # it has ended by itself
            started.append(" ".join(child.cmdline()))
    process.kill()
    process.communicate()

    def ended(child):
        with suppress(psutil.NoSuchProcess):
            return child.status() == psutil.STATUS_ZOMBIE  # nobody's child any more
        return True

    wait_for(lambda: all(map(ended, children)), 60)
    return started


def browse(browser, folder, address, *flags):
    """Open an address without a window; return what the browser wrote."""
    always = (
        "--headless --no-sandbox --disable-gpu --no-first-run --disable-sync "
        "--disable-background-networking --disable-component-update "
        f"--user-data-dir={folder}/profile"
    ).split()
    done = run(browser, *always, *flags, address, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout
