"""What all real servers have in common."""

from __future__ import annotations

import abc
import contextlib
import fcntl
import functools
import itertools
import os
import socket
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

from mailpool.testing import Authority

from . import sessions
from .daemon import Daemon
from .small_disk import NotAvailable, SmallDisk

T = TypeVar("T")
# Below those that connections get. Each test process takes a block of them for itself, and no port of it again so soon.
_PORTS, _BLOCK = range(10_000, 30_000), 500


def once(fetch: Callable[[], T]) -> Callable[[], T]:
    """Try to fetch something once in a test run, and tell the same reason each time if that fails."""
    results: list[T | NotAvailable] = []

    @functools.wraps(fetch)
    def remembered() -> T:
        if not results:
            try:
                results.append(fetch())
            except NotAvailable as reason:
                results.append(reason)
        result = results[0]
        if isinstance(result, NotAvailable):
            raise result
        return result

    return remembered


class Delivery(NamedTuple):
    """One message for one recipient, as the server knows it."""

    message_id: str
    recipient: str


class RealServer(Daemon):
    """A server in a process of its own, which may start others: all are of a session of their own.

    ``tls``       ``"starttls"``, ``"implicit"`` or ``None``
    ``ca_file``   the authority that signed the server's certificate, which is for ``127.0.0.1`` and ``localhost``
    ``username``, ``password``  what AUTH wants, if ``requires_auth``
    ``pipelining``  whether it announces PIPELINING
    ``most_recipients``  of a transaction, if its configuration bounds them
    ``refused_content``  fields of a message that it refuses after DATA, if it can
    ``stores``  the folder below its home where it keeps what it took, if it does; with ``small_disk`` set before the
                start that is a disk of its own, ``disk``
    ``sees_what_finds_no_room``  whether it notices when the disk becomes full in the midst of a message
    """

    name: ClassVar[str]
    tls: Literal["starttls", "implicit"] | None = "starttls"
    requires_auth: ClassVar[bool] = True
    pipelining: ClassVar[bool] = True
    refused_content: ClassVar[Mapping[str, str] | None] = {"subject": "virus"}
    most_recipients: ClassVar[int | None] = None
    stores: ClassVar[str | None] = None
    sees_what_finds_no_room: ClassVar[bool] = True
    small_disk = False
    disk: SmallDisk | None = None
    host = "127.0.0.1"
    username = "me"
    password = "correct horse"

    def __init__(self, authority: Authority) -> None:
        super().__init__(type(self).__name__.lower())
        self._authority = authority
        self.ca_file = authority.write_ca(self.home / "ca.pem")
        self.port = 0
        self._sessions: list[int] = []

    def __repr__(self) -> str:
        return f"<{self.name} on {self.host}:{self.port}>"

    @abc.abstractmethod
    def deliveries(self) -> list[Delivery]:
        """What was delivered so far, one entry for each recipient of each message; duplicates are there twice."""

    def stop(self) -> None:
        """End it and all that it started."""
        self._end()
        # Connections and deliveries may have programs of their own, which go on for a while, and write.
        for session in self._sessions:
            sessions.kill(session)
        if self.disk is not None:
            self.disk.end()

    def restart(self) -> None:
        """End it, and start it again on the same port, with all that it wrote. What it took stays counted."""
        command, options = self._spawned
        self._end()
        with Path(options["stdout"].name).open("ab") as output:
            self._spawn(command, **{**options, "stdout": output, "stderr": output})
        self._wait_for_greeting()

    def _end(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(200)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None

    def wait_for_deliveries(self, count: int, timeout: float = 200.0) -> list[Delivery]:
        """Wait until so many deliveries are known, and return all. ``TimeoutError`` after seconds."""
        deadline = time.monotonic() + timeout
        while len(found := self.deliveries()) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} delivered {len(found)} of {count}\n{self.log()}")
            time.sleep(0.05)
        return found

    def duplicates(self) -> list[Delivery]:
        """The deliveries that happened more than once."""
        return [delivery for delivery, times in Counter(self.deliveries()).items() if times > 1]

    def log(self) -> str:
        """The end of what the server wrote about itself, for people."""
        return ""

    def _make_store(self) -> Path:
        """Where it keeps what it took, as we see it: a folder, or a disk."""
        assert self.stores is not None
        folder = self.home / self.stores
        if not self.small_disk:
            folder.mkdir()
            return folder
        self.disk = SmallDisk(folder)
        return self.disk.inside

    @property
    def _store(self) -> Path:
        assert self.stores is not None
        return self.home / self.stores if self.disk is None else self.disk.inside

    def _spawn(self, command: Sequence[str | os.PathLike[str]], **options: Any) -> None:
        self._spawned = command, options
        if self.disk is not None:
            command = [*self.disk.prefix, *command]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, **options)
        self._sessions.append(self._process.pid)

    def _wait_for_greeting(self, timeout: float = 200.0) -> None:
        """Wait until something answers on the port; under TLS from the first octet, until it can be connected."""
        deadline = time.monotonic() + timeout
        while True:
            if self._process is not None and self._process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self._process.returncode}\n{self.log()}")
            try:
                with socket.create_connection((self.host, self.port), timeout=5) as connection:
                    if self.tls == "implicit" or connection.recv(3) == b"220":
                        return
            except OSError:
                pass
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} did not answer in {timeout} s\n{self.log()}")
            time.sleep(0.05)


def free_port() -> int:
    """A port on the loopback that nobody uses now, that no other test takes, and that the system gives to nobody."""
    for port in _own_ports():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise AssertionError("there is no end of them")


@functools.cache
def _own_ports() -> Iterator[int]:
    """Between a look at a port and its use by a server, or while that is restarted, another process would find it free."""
    for begin in range(_PORTS.start, _PORTS.stop, _BLOCK):
        name = f"mailpool-ports-{os.getuid()}-{begin}"
        # Held until this process ends.
        lock = os.open(Path(tempfile.gettempdir(), name), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        return itertools.cycle(range(begin, begin + _BLOCK))
    raise RuntimeError(f"{len(_PORTS) // _BLOCK} processes run tests on this machine at the same time")


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other test runs out while a folder of the cache is filled."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def cache_folder(name: str) -> Path:
    """Where fetched things are kept from run to run: under ``$XDG_CACHE_HOME``, or else in the repository."""
    base = os.environ.get("XDG_CACHE_HOME")
    root = Path(base) / "mailpool" if base else Path(__file__).parents[3] / ".cache"
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder
