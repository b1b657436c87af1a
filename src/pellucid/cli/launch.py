"""`pellucid launch`: several processes on this machine that train one model together.

The processes meet by themselves; this one only starts them, passes on what the first
one says, and ends them all when one fails.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO, Annotated, Any

import typer

from pellucid.errors import ArgumentError, EngineError, message

__all__ = ["PARSING", "run"]

PARSING = {"allow_interspersed_args": False}
"""What stands behind the command's name is the command's, also without two dashes."""

Command = Annotated[
    list[str],
    typer.Argument(
        help="What each of them runs, behind two dashes: -- train FILE …",
        metavar="-- train …",
        show_default=False,
    ),
]
Processes = Annotated[int, typer.Option(help="How many processes.", min=1)]

_GRACE = 15.0
"""Seconds in which the others may say that they lost one, and end by themselves."""
_NOISE = "[Gloo]"
"""How the lines begin that a library writes to the standard output."""


def run(command: Command, processes: Processes = 2) -> None:
    """Train on one machine as on several hosts: a trial of what a cluster will run."""
    crew = _Crew.start(_with_engine(command), processes)
    with _stopped_by_signals():
        try:
            first = crew.wait()
        except KeyboardInterrupt:
            crew.stop(signal.SIGINT)
            raise
        finally:
            crew.end()
    if first is not None:
        _report(first, crew, resumable="--checkpoint" in command)


def _with_engine(command: Sequence[str]) -> list[str]:
    """Return the command with the engine that several processes can share."""
    given = [*command]
    if given[0] != "train":
        raise ArgumentError(
            message(f"cannot launch {given[0]!r}", expected="expected -- train FILE …")
        )
    named = [each.split("=")[1:] for each in given if each.startswith("--engine=")]
    if "--engine" in given:
        named.append(given[given.index("--engine") + 1 :][:1])
    for engine in named:
        if engine != ["xla"]:
            raise ArgumentError(
                message(
                    f"the {' '.join(engine)} engine works alone",
                    hint="several processes train with --engine xla",
                )
            )
    return given if named else [*given, "--engine", "xla"]


@dataclass
class _Member:
    """A process, and the end of what it wrote to the error output."""

    number: int
    process: subprocess.Popen[str]
    last: deque[str] = field(default_factory=lambda: deque(maxlen=20))

    def listen(self) -> list[threading.Thread]:
        """Read what it writes, so that it never waits for a reader."""
        pairs = ((self.process.stdout, self._say), (self.process.stderr, self._keep))
        threads = [
            threading.Thread(target=_read, args=pair, daemon=True)
            for pair in pairs
            if pair[0] is not None
        ]
        for each in threads:
            each.start()
        return threads

    def _say(self, line: str) -> None:
        """Pass a line of the first one on; also where nobody reads it any more."""
        if self.number or line.startswith(_NOISE) or sys.stdout is None:
            return
        with suppress(OSError):  # reported at the end, when the output is flushed
            sys.stdout.write(line)

    def _keep(self, line: str) -> None:
        self.last.append(line.rstrip())


def _read(stream: IO[str], use: Any) -> None:
    for line in stream:
        use(line)


@dataclass
class _Crew:
    """The processes of one run."""

    members: list[_Member]
    readers: list[threading.Thread]

    @classmethod
    def start(cls, command: list[str], count: int) -> _Crew:
        """Start so many processes of one command, that know of each other."""
        crew = cls([], [])
        port = _free_port()
        for number in range(count):
            member = _Member(number, _started(command, number, count, port))
            crew.members.append(member)
            crew.readers += member.listen()
        return crew

    def wait(self, grace: float = _GRACE) -> _Member | None:
        """Wait until all have ended; return the first that failed, if one did.

        After a failure the others have so many seconds to end by themselves.
        """
        first, deadline = None, float("inf")
        while any(each.process.poll() is None for each in self.members):
            first = first or self._failed()
            if first is not None:
                deadline = min(deadline, time.monotonic() + grace)
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        return first or self._failed()

    def _failed(self) -> _Member | None:
        ended = (each for each in self.members if each.process.poll())
        return next(ended, None)

    def stop(self, number: signal.Signals) -> None:
        """Send a signal to all that run, and wait for their end for a while."""
        for each in self.members:
            if each.process.poll() is None:
                each.process.send_signal(number)
        deadline = time.monotonic() + _GRACE
        for each in self.members:
            try:
                each.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                each.process.kill()

    def end(self) -> None:
        """See that no process is left, and that all they wrote was read."""
        self.stop(signal.SIGTERM)
        for each in self.members:
            each.process.wait()
        for reader in self.readers:
            reader.join(1)


def _started(
    command: list[str], number: int, count: int, port: int
) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "PELLUCID_COORDINATOR": f"127.0.0.1:{port}",
        "PELLUCID_PROCESSES": str(count),
        "PELLUCID_PROCESS": str(number),
        "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3"),
        "COLUMNS": str(shutil.get_terminal_size().columns),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "pellucid", *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=None if number == 0 else subprocess.PIPE,
        text=True,
        errors="replace",
        env=environment,
        start_new_session=True,  # Ctrl-C reaches it through this process alone
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Let a request to end be an interruption, so that the processes are ended too."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _report(first: _Member, crew: _Crew, resumable: bool) -> None:
    """Raise what says how the run failed; the first process has spoken for itself."""
    codes = [each.process.returncode for each in crew.members]
    alike = codes[0] > 0 and set(codes) == {codes[0]}
    if (first.number == 0 and codes[0] > 0) or alike:
        raise typer.Exit(codes[0])
    code = first.process.returncode
    what = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
    said = [line for line in first.last if line]
    raise EngineError(
        message(
            f"process {first.number} of {len(crew.members)} {what}",
            where=said[-1] if said else "",
            expected="the others were ended",
            hint="go on from the checkpoint with --resume" if resumable else "",
        )
    )
