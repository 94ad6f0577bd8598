"""What one client has to do, and what it reports: both travel as JSON between processes."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Job:
    """Send ``warmup`` messages, then ``messages`` more, and time these.

    :param kind: what is handed to the client: fields that it composes, the finished octets, or the values for a letter
        that it has prepared (``merged``), or fields with a file of 1 GiB, in Base64 (``huge``) or as it is (``binary``);
        with ``compose``, ``merge`` and
        ``attachment`` nothing is sent
    :param letter: which text, see ``letters``
    :param window: how many messages a client with a queue of its own may hold at once
    :param max_messages: on one connection; 0 without bound
    :param depth: transactions in flight on a connection
    :param compiled: mailpool's hot path as a C extension, where there is a compiler
    :param refused_every: each so many-th recipient is one that the server refuses; 0 for none
    """

    host: str = "127.0.0.1"
    port: int = 0
    messages: int = 1000
    warmup: int = 200
    connections: int = 5
    kind: Literal["composed", "prepared", "merged", "compose", "merge", "attachment", "huge", "binary"] = (
        "composed"
    )
    letter: str = "ascii"
    loop: Literal["asyncio", "uvloop"] = "uvloop"
    window: int = 500
    max_messages: int = 0
    depth: int = 1
    chunking: bool = True
    refused_every: int = 0
    tls: bool = False
    many: bool = False
    compiled: bool = True
    folder: str = ""

    @property
    def total(self) -> int:
        return self.messages + self.warmup

    def expected(self) -> tuple[int, int]:
        """How many messages must be accepted and how many refused, warm-up included."""
        refused = self.total // self.refused_every if self.refused_every else 0
        return self.total - refused, refused

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        return cls(**json.loads(text))

    def but(self, **changes: Any) -> Job:
        return dataclasses.replace(self, **changes)


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a client says when it is done: ``accepted`` and ``refused`` count the warm-up too, the rest does not."""

    accepted: int
    refused: int
    seconds: float
    cpu: float
    peak_kib: int = 0
    octets: int = 0

    def print(self) -> None:
        print(json.dumps(dataclasses.asdict(self)), flush=True)


def peak_kib(pid: int | str = "self") -> int:
    """The most memory that the process has had resident; rusage would count what its parent had before exec."""
    try:
        with open(f"/proc/{pid}/status") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1])
    except (OSError, ValueError):
        pass
    return 0
