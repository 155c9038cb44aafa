"""Runs graphs in processes forked from one that has everything imported: a start takes hundredths of a second.

    python server.py GRAPH

Reads one JSON object a line, `{"folder": …, "arguments": […], "faults": […]}`, and forks a process that calls the
command line there with those arguments; what it prints goes to `FOLDER/faults.log`. Writes the process's number, and
once it has ended its exit code, negative for a signal. `faults` are the arguments of `faults_begin` in `shim.c`.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys

import rxpipe.cli.run
import rxpipe.language.lints
import rxpipe.runtime.asyncrun
import rxpipe.runtime.logs
import rxpipe.runtime.memory
from rxpipe.language.config import load


def main() -> None:
    """Serve until the input ends."""
    load(sys.argv[1]).plan()  # imports its operators
    gc.freeze()
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            run(**job)
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def run(folder: str, arguments: list[str], faults: list[str | int]) -> None:
    """Be the process of one run."""
    code = 99
    try:
        os.chdir(folder)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        log = os.open("faults.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        if faults:
            given = [value.encode() if isinstance(value, str) else value for value in faults]
            ctypes.CDLL(os.environ["LD_PRELOAD"]).faults_begin(*given)
        code = rxpipe.cli.main(arguments)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
