"""What the benchmarks share: rows, medians, and processes that are timed."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

PROJECT = Path(__file__).parents[1]
COMMAND = Path(sys.executable).with_name("imagesmith")
_TIMES = 5
_NO_BYTE_CODE = ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")


@dataclass(frozen=True)
class Row:
    """One line of the table: our figure, and that of what it stands beside, if anything."""

    what: str
    unit: str
    ours: float
    beside: str = ""
    of_beside: float = 0.0
    limit: str = ""

    @property
    def digits(self) -> int:
        """How many decimals tell something."""
        return {"us": 0, "ms": 0, "s": 2, "kB": 1, "MB": 0}[self.unit]


def as_installed() -> dict[str, str]:
    """Give the environment of a program that was installed, and so has its byte code."""
    return {name: value for name, value in os.environ.items() if name not in _NO_BYTE_CODE}


def medians(*runs: Callable[[], float]) -> tuple[float, ...]:
    """Give the median of five of each measurement, taken in turn after one that does not count."""
    for run in runs:
        run()
    rounds = [[run() for run in runs] for _ in range(_TIMES)]
    return tuple(median(column) for column in zip(*rounds, strict=True))


def timed(work: Callable[[], object]) -> float:
    """Give the seconds that some work takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def run(*command: object, cwd: Path = PROJECT) -> str:
    """Run a program to its good end and give its stdout."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**as_installed(), "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"{command} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout
