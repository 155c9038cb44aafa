"""Fuzz the parsers with atheris, which looks for inputs that reach new code: `python tests/hostile/fuzz.py [TARGET…]`.

Each target has a process of its own; one that raises, takes more than 10 seconds or 2 GB of memory on an input fails,
and leaves the input in the folder `fuzzed`.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FOUND = Path("fuzzed")


def main() -> int:
    """Fuzz all targets, or those that are named, one after the other."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("targets", nargs="*")
    options.add_argument("--seconds", type=int, default=60, help="for each target")
    options.add_argument("--only", action="store_true", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.only:
        _fuzz(given.targets[0], given.seconds)
        return 0
    if importlib.util.find_spec("atheris") is None:
        print("fuzz: left out, atheris cannot be installed here")
        return 0
    from tests.hostile.targets import TARGETS

    failed = []
    for name in given.targets or TARGETS:
        print(f"fuzz: {name}", flush=True)
        command = [sys.executable, __file__, name, "--only", "--seconds", str(given.seconds)]
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
    print(f"fuzz: failed: {', '.join(failed)}" if failed else "fuzz: nothing found")
    return 1 if failed else 0


def _fuzz(name: str, seconds: int) -> None:
    """Fuzz one target in this process, which ends with it."""
    atheris: Any = importlib.import_module("atheris")  # its types are nowhere but where it is
    with atheris.instrument_imports(include=["rxpipe"]):
        from tests.hostile.targets import TARGETS
    from loguru import logger

    logger.remove()
    target, seeds = TARGETS[name]
    FOUND.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds):
            Path(corpus, str(number)).write_bytes(seed)
        limits = [f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048", "-max_len=4096"]
        atheris.Setup([name, corpus, f"-artifact_prefix={FOUND}/{name}-", "-print_final_stats=1", *limits], target)
        atheris.Fuzz()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
