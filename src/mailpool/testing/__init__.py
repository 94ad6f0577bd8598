"""Testing code that sends mail: a server that misbehaves on demand, a network in memory, a clock that jumps.

This package needs nothing but the standard library, and no test framework. What it offers is described in
``docs/testing.md``.
"""

from .actions import (
    close,
    deliver_then_close,
    deliver_then_reset,
    deliver_then_stall,
    drip,
    extra,
    partial,
    raw,
    refuse_connection,
    reply,
    reply_then_close,
    reset,
    stall,
)
from .authority import Authority
from .faults import Action, At, Fault, Incident
from .loop import Deadlock, LeftBehind, VirtualLoop, run_virtual
from .memory import MemoryTransport
from .network import MemoryNetwork, Reachable
from .raw_server import RawServer, RawStream
from .records import ConnectionRecord, ReceivedMessage, TlsRecord, Turn
from .scram import ScramManners
from .server import USUAL_CAPABILITIES, ScriptedServer
from .threads import in_thread

__all__ = [
    "USUAL_CAPABILITIES",
    "Action",
    "At",
    "Authority",
    "ConnectionRecord",
    "Deadlock",
    "Fault",
    "Incident",
    "LeftBehind",
    "MemoryNetwork",
    "MemoryTransport",
    "RawServer",
    "RawStream",
    "Reachable",
    "ReceivedMessage",
    "ScramManners",
    "ScriptedServer",
    "TlsRecord",
    "Turn",
    "VirtualLoop",
    "close",
    "deliver_then_close",
    "deliver_then_reset",
    "deliver_then_stall",
    "drip",
    "extra",
    "in_thread",
    "partial",
    "raw",
    "refuse_connection",
    "reply",
    "reply_then_close",
    "reset",
    "run_virtual",
    "stall",
]
