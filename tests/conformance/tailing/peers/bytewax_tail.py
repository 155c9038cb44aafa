"""Bytewax with its own sources and sinks of files and its recovery store; it is run again when it ends or fails.

python bytewax_tail.py LOGS PATTERN SINK STATE
"""

from __future__ import annotations

import sys
import time
import traceback
from datetime import timedelta
from pathlib import Path

import bytewax.operators as op
from bytewax.connectors.files import DirSource, FileSink
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main


def main() -> None:
    """Run the flow again and again."""
    logs, pattern, sink, state = sys.argv[1:]
    if not list(Path(state).glob("*.sqlite3")):
        init_db_dir(Path(state), 1)
    Path(sink, "out.txt").touch()
    while True:
        if Path(logs).is_dir():
            flow = Dataflow("tailing")
            lines = op.input("lines", flow, DirSource(Path(logs), f"**/{pattern}"))
            op.output("out", op.key_on("one", lines, lambda _: "all"), FileSink(Path(sink, "out.txt")))
            try:
                cli_main(
                    flow,
                    epoch_interval=timedelta(milliseconds=100),
                    recovery_config=RecoveryConfig(state, backup_interval=timedelta(seconds=0)),
                )
            except Exception:  # whatever a supervisor would start it again after
                traceback.print_exc()
        time.sleep(0.1)  # until it looks again


if __name__ == "__main__":
    main()
