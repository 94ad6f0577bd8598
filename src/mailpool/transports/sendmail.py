"""Messages given to a local ``sendmail`` program, as Postfix, Exim and others have it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shlex
import signal
from collections.abc import Sequence

from ..errors import (
    AddressError,
    ConfigurationError,
    ConnectionFailed,
    Deferred,
    DeliveryUncertain,
    Rejected,
    SendError,
    TimedOut,
)
from ..message import Sealed
from ..results import Phase, Reply, SendResult
from .arguments import checked_path, checked_seconds, checked_texts
from .carrier import all_accepted
from .octets import Newline, blocks_of, checked_newline

# sysexits.h. Of these only some mean that the same message may go out later.
_EXITS = {
    64: "usage",
    65: "data error",
    66: "no input",
    67: "no such user",
    68: "no such host",
    69: "unavailable",
    70: "internal error",
    71: "system error",
    72: "critical system file missing",
    73: "cannot create output",
    74: "input or output error",
    75: "temporary failure",
    76: "protocol error",
    77: "no permission",
    78: "configuration error",
}
_TEMPORARY = frozenset({71, 74, 75})
# What there is too little of for another process at the moment.
_SCARCE = frozenset({errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
# Of what the program complains about, so much is kept and shown.
_MOST_STDERR = 2_000


class SendmailCarrier:
    """Starts the program for each message and writes the content to it, block by block. No shell is involved.

    :param path: of the program; a name without ``/`` is looked for in ``PATH``
    :param args: more arguments before ``--``, as a sequence of texts
    :param newline: ``"lf"``, as these programs expect, or ``"crlf"``
    :param timeout: seconds until the program is killed, and all that it has started
    :raises ConfigurationError: a value is none of these
    """

    name = "sendmail"
    # Arguments of a program are bounded; the rest follows in another run.
    max_recipients = 500

    def __init__(
        self,
        path: str | os.PathLike[str] = "sendmail",
        *,
        args: Sequence[str] = (),
        newline: Newline = "lf",
        timeout: float | str = 300.0,
    ) -> None:
        self._path = checked_path("path", path)
        if isinstance(args, str):
            raise ConfigurationError(
                f"args: must be a sequence, such as {shlex.split(args)!r}, for no shell takes a text apart",
                option="args",
            )
        self._args = checked_texts("args", args)
        self._newline = checked_newline(newline)
        self._timeout = checked_seconds("timeout", timeout)

    async def deliver(self, sealed: Sealed, /) -> SendResult:
        run = _Run(self._path, self._command(sealed))
        finished = False
        try:
            async with asyncio.timeout(self._timeout):
                await run.start()
                await run.write(sealed, self._newline)
                await run.end()
                finished = True
        except TimeoutError:
            raise self._too_late(run) from None
        except asyncio.CancelledError:
            if not run.whole:
                raise
            # It has everything and may have queued it: what it says is the truth, and it has not much left to do.
            with contextlib.suppress(TimeoutError, asyncio.CancelledError):
                async with asyncio.timeout(self._timeout):
                    await run.end()
                    finished = True
            if not finished:
                raise
        finally:
            await run.destroy()
        return self._outcome(run, sealed)

    def _command(self, sealed: Sealed) -> list[str]:
        envelope = sealed.envelope
        for address in (envelope.sender, *envelope.recipients):
            # Behind -- nothing is an option, but some programs look again at what they pass on.
            if address.startswith(("-", '"-')):
                raise AddressError(
                    f"{address!r}: begins like an option of a program and is not given to sendmail",
                    field="envelope.from" if address == envelope.sender else "envelope.to",
                )
        return ["-i", "-f", envelope.sender or "<>", *self._args, "--", *envelope.recipients]

    def _outcome(self, run: _Run, sealed: Sealed) -> SendResult:
        code = run.code
        assert code is not None
        if code == 0 and run.whole:
            return all_accepted(sealed, "250 2.0.0 queued by sendmail")
        said = f": {run.complaint}" if run.complaint else ""
        if code == 0:
            raise _uncertain(f"sendmail ended without reading the whole message{said}")
        if code < 0:
            text = f"sendmail was ended by {_signal_name(-code)}{said}"
            raise _uncertain(text) if run.whole else Deferred(text, phase=Phase.HANDOVER, temporary=True)
        temporary = code in _TEMPORARY
        kind: type[SendError] = Deferred if temporary else Rejected
        raise kind(
            f"sendmail ended with {code} ({_EXITS.get(code, 'unknown')}){said}",
            phase=Phase.HANDOVER,
            temporary=temporary,
        )

    def _too_late(self, run: _Run) -> SendError:
        text = f"sendmail took more than {self._timeout:g} s and was killed"
        if run.whole:
            return _uncertain(text)
        return TimedOut(text, phase=Phase.HANDOVER, temporary=True)


def _uncertain(text: str) -> DeliveryUncertain:
    return DeliveryUncertain(
        f"{text}; the message may or may not have been queued",
        phase=Phase.HANDOVER,
        temporary=True,
        may_have_been_delivered=True,
    )


class _Run:
    """One run of the program. ``whole``: all of the content has been written to it."""

    def __init__(self, path: str, arguments: list[str]) -> None:
        self._path = path
        self._arguments = arguments
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[bytes] | None = None
        self._ear: asyncio.ReadTransport | None = None
        self.whole = False
        self.code: int | None = None
        self.complaint = ""

    async def start(self) -> None:
        said = asyncio.StreamReader()
        try:
            # A pipe of our own: the process may leave children behind that hold it open, and it has to be closed then.
            ours, theirs = os.pipe()
            try:
                self._ear, _ = await asyncio.get_running_loop().connect_read_pipe(
                    lambda: asyncio.StreamReaderProtocol(said), os.fdopen(ours, "rb", buffering=0)
                )
                await self._start(theirs)
            finally:
                os.close(theirs)
        except OSError as error:
            raise ConnectionFailed(
                f"{self._path!r} cannot be run: {error.strerror or type(error).__name__}",
                phase=Phase.HANDOVER,
                temporary=error.errno in _SCARCE,
            ) from error
        self._listening = asyncio.ensure_future(_beginning(said))

    async def _start(self, stderr: int) -> None:
        starting = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                self._path,
                *self._arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,  # so that it can be killed with all that it has started
            )
        )
        try:
            self._process = await asyncio.shield(starting)
        except asyncio.CancelledError:
            # asyncio would lose the pipes of a process whose start is cancelled; it does not take long.
            with contextlib.suppress(OSError):
                self._process = await starting
            raise

    async def write(self, sealed: Sealed, newline: Newline) -> None:
        assert self._process is not None
        pipe = self._process.stdin
        assert pipe is not None
        try:
            for block in blocks_of(sealed.content, newline):
                pipe.write(block)
                await pipe.drain()
            pipe.close()
            # Only the end of the input makes it a message: before that, a killed program has queued nothing.
            self.whole = True
            # Cancelled itself, it would break asyncio's own book-keeping.
            await asyncio.shield(pipe.wait_closed())
        except (BrokenPipeError, ConnectionResetError):
            self.whole = False  # it ended first, and its exit code says why

    async def end(self) -> None:
        """Wait for the exit, and for what there is to hear; others may hold the pipe open."""
        assert self._process is not None
        assert self._listening is not None
        self.code = await self._process.wait()
        heard, _ = await asyncio.wait([self._listening], timeout=1.0)
        if heard:
            self.complaint = _shown(self._listening.result())

    async def destroy(self) -> None:
        """Nothing of it is left, but what it left running in the background when it ended by itself."""
        if self._ear is not None:
            self._ear.close()
        if self._listening is not None:
            self._listening.cancel()
        if self._process is None or self._process.returncode is not None:
            return
        # The group and not only the program: a wrapper's children would go on.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        if self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.transport.abort()
        await self._process.wait()


async def _beginning(pipe: asyncio.StreamReader) -> bytes:
    """The first octets; the rest is read and dropped, so that the program never waits for us."""
    kept = b""
    while block := await pipe.read(65_536):
        kept = (kept + block)[:_MOST_STDERR]
    return kept


def _shown(raw: bytes) -> str:
    """On one line, with controls escaped, as every foreign text in an error."""
    lines = [line.strip() for line in raw.decode("utf-8", "replace").split("\n") if line.strip()]
    return str(Reply(0, tuple(map(str.encode, lines)))).removeprefix("0 ") if lines else ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
