"""The steps of token exchanges in a running server: written down, and the process killed or stopped at one of them."""

import asyncio
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

LABELS = ("after_claim", "after_send", "after_answer", "after_rescue", "after_commit")
"""In the order in which an exchange reaches them."""


class Steps:
    """Told of each step. What it writes is with the kernel at once, so that a kill leaves it."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._label, self._left, self._after_seconds, self._number = "", 0, 0.0, 0

    def strike(self, label: str, times: int, after_seconds: float, number: int) -> None:
        """Signal `number` to this process: in the step itself, or so long after it, wherever it is then."""
        self._label, self._left, self._after_seconds, self._number = label, times, after_seconds, number

    def __call__(self, label: str) -> None:
        at = time.monotonic_ns()
        os.write(self._file, f"{at} {label} {whose()}\n".encode())
        if label != self._label:
            return
        self._left -= 1
        if self._left == 0:
            self._label = ""
            self._strike()

    def _strike(self) -> None:
        if self._after_seconds == 0:
            os.kill(os.getpid(), self._number)
        else:
            threading.Thread(target=self._strike_later, daemon=True).start()

    def _strike_later(self) -> None:
        time.sleep(self._after_seconds)
        os.kill(os.getpid(), self._number)


def whose() -> str:
    """The connection whose exchange it is; the task that makes it is named for it."""
    task = asyncio.current_task()
    return task.get_name().split()[-1] if task is not None else ""


@dataclass(frozen=True)
class Step:
    """`at_ns` is on the monotonic clock, which all processes of the machine share."""

    at_ns: int
    label: str
    connection: str


def read(path: Path) -> list[Step]:
    """What a process wrote, in order; it may have ended in the middle of a line."""
    if not path.exists():
        return []
    lines = [line.split() for line in path.read_text().split("\n")[:-1]]
    return [Step(int(at), label, connection) for at, label, connection in lines]


def gaps_ms(steps: list[Step], first: str, second: str) -> list[float]:
    """How long it took from one step to the next in the same exchange, in ms."""
    began: dict[str, int] = {}
    found = []
    for step in steps:
        if step.label == first:
            began[step.connection] = step.at_ns
        elif step.label == second and step.connection in began:
            found.append((step.at_ns - began.pop(step.connection)) / 1e6)
        else:
            began.pop(step.connection, None)
    return found
