"""A worker as an operating system's process: how it is started, how it ended, and that nothing of it is left."""

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
from typing import IO

from .transport import Channel
from .worker import Fault, FaultKind

STALL_TIMEOUT_S = 10.0
"""A message that has begun to arrive is there in milliseconds; a worker that stops in its middle is broken."""
EXIT_TIMEOUT_S = 1.0
"""A killed process is gone in milliseconds."""
LOG_TAIL_BYTES = 4000
PERHAPS_OUT_OF_MEMORY = "perhaps the machine ran out of memory"
"""Said of a worker that was killed outright, as the kernel does where memory runs out."""

_COMMAND = (sys.executable, "-P", "-m", f"{__package__}.worker")
"""A fresh interpreter: it does not run the user's script again, which spawn would."""


class WorkerProcess:
    """A running worker process with its connection. Used by the supervisor's thread."""

    def __init__(self, generator: str, threads: int) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        try:
            with theirs:
                self._popen = subprocess.Popen(
                    [*_COMMAND, str(theirs.fileno()), str(os.getpid()), generator],
                    stdin=subprocess.DEVNULL,
                    stdout=self._output,
                    stderr=subprocess.STDOUT,
                    pass_fds=(theirs.fileno(),),
                    env=_environment(threads),
                    start_new_session=True,
                )
        except OSError:
            ours.close()
            self._output.close()
            raise
        self.channel = Channel(ours)
        self.channel.set_timeout(STALL_TIMEOUT_S)
        self.pid = self._popen.pid
        self.exit_descriptor = _exit_descriptor(self.pid)

    def explain_exit(self) -> Fault:
        """Why it ended by itself; waits for it a moment, and kills it if it only closed its connection."""
        status = self._end(EXIT_TIMEOUT_S)
        if status < 0:
            name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
            hint = f" ({PERHAPS_OUT_OF_MEMORY})" if -status == signal.SIGKILL else ""
            reason = f"the worker was killed by {name}{hint}"
        else:
            reason = f"the worker ended by itself with status {status}"
        output = self._output_tail()
        last_line = output.strip().rpartition("\n")[2][:200]
        return Fault(f"{reason}: {last_line}" if status > 0 and last_line else reason, output, FaultKind.WORKER)

    def close(self, timeout_s: float = 0.0) -> None:
        """Give it some time to end, then kill it with all that it started; afterwards nothing of it is left."""
        self._end(timeout_s)
        self.channel.close()
        self._output.close()
        if self.exit_descriptor is not None:
            os.close(self.exit_descriptor)

    def _end(self, timeout_s: float) -> int:
        if timeout_s > 0 and self._popen.returncode is None:
            self._wait_without_reaping(timeout_s)
        if self._popen.returncode is None:  # not reaped: nobody else can have got its number
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)  # its own children as well, also where it ended by itself
        return self._popen.wait()

    def _wait_without_reaping(self, timeout_s: float) -> None:
        if self.exit_descriptor is not None:
            with selectors.DefaultSelector() as selector:
                selector.register(self.exit_descriptor, selectors.EVENT_READ)
                selector.select(timeout_s)
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(timeout_s)

    def _output_tail(self) -> str:
        size = self._output.seek(0, os.SEEK_END)
        self._output.seek(max(0, size - LOG_TAIL_BYTES))
        return self._output.read().decode("utf-8", "replace")


def _exit_descriptor(pid: int) -> int | None:
    """Becomes readable at the process's end, even where its child keeps the connection; None where unsupported."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def _environment(threads: int) -> dict[str, str]:
    """The parent's environment, its import path, and few threads for numerical libraries."""
    names = ("OMP", "OPENBLAS", "MKL", "VECLIB_MAXIMUM", "NUMEXPR", "NUMBA")
    out = dict(os.environ) | {f"{name}_NUM_THREADS": str(threads) for name in names}
    out["PYTHONPATH"] = os.pathsep.join(os.path.abspath(p) for p in sys.path)
    out["PYTHONUNBUFFERED"] = "1"
    return out
