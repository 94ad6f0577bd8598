"""All of the list of aims, as far as it can be measured today; it takes some ten minutes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from .job import Job
from .plan import Group, Plan, Ratio
from .quick import QUICK, far
from .run import Run

OTHERS = [
    Run(
        key="aiosmtplib",
        label="aiosmtplib, composed",
        peer="aiosmtplib",
        job=Job(messages=400, loop="asyncio"),
    ),
    Run(key="smtplib", label="smtplib, 5 threads, composed", peer="smtplib", job=Job(messages=400)),
    Run(
        key="nodemailer-prepared",
        label="Nodemailer, prepared",
        peer="nodemailer",
        job=Job(messages=2_000, kind="prepared"),
    ),
    Run(
        key="aiosmtplib-prepared",
        label="aiosmtplib, uvloop, prepared",
        peer="aiosmtplib",
        job=Job(messages=4_000, kind="prepared"),
    ),
    Run(
        key="smtplib-prepared",
        label="smtplib, 5 threads, prepared",
        peer="smtplib",
        job=Job(messages=6_000, kind="prepared"),
    ),
    Run(
        key="many", label="mailpool, uvloop, send_many", peer="mailpool", job=Job(messages=12_000, many=True)
    ),
]


def own(key: str, label: str, **job: object) -> Run:
    server = "sink" if job.pop("sink", True) else "sink-data"
    return Run(
        key=key,
        label=f"mailpool, {label}",
        peer="mailpool",
        server=server,
        job=Job(messages=12_000).but(**job),
    )


SERVERS = [
    own("sink-data", "own sink, DATA", sink=False),
    own("sink-chunking", "own sink, CHUNKING"),
    own("sink-chunking-8", "own sink, CHUNKING, depth 8", depth=8),
    own("sink-tls", "own sink, TLS", tls=True),
    Run(
        key="nodemailer-tls",
        label="Nodemailer, own sink, TLS",
        peer="nodemailer",
        server="sink",
        job=Job(messages=1_000, warmup=400, tls=True),
    ),
    own("refused", "own sink, 5 % refused", sink=False, refused_every=20),
    Run(
        key="replay-8",
        label="replay (C), CHUNKING, depth 8: the limit",
        peer="replay",
        server="sink",
        job=Job(messages=50_000, depth=8),
    ),
]

CONNECTIONS = (1, 5, 20, 50)
QUEUES = (10, 1_000, 100_000)
FLAT = [
    *(
        Run(
            key=f"connections-{count}",
            label=f"mailpool, {count} connections",
            peer="mailpool",
            job=Job(messages=12_000, connections=count),
        )
        for count in CONNECTIONS
    ),
    # What the kernel asks of a client that does nothing else: the smaller part of the same difference.
    *(
        Run(
            key=f"replay-connections-{count}",
            label=f"replay (C), {count} connections",
            peer="replay",
            job=Job(messages=40_000, connections=count, chunking=False),
        )
        for count in CONNECTIONS
    ),
    *(
        Run(
            key=f"queue-{count}",
            label=f"mailpool, {count:,} messages queued",
            peer="mailpool",
            # As many messages again while the queue is full, or enough to time.
            job=Job(messages=max(12_000, count), warmup=100, window=count),
            patience=120,
        )
        for count in QUEUES
    ),
]

MEMORY = [
    Run(
        key="queued-mailpool",
        label="mailpool, 20,000 queued at once",
        peer="mailpool",
        job=Job(messages=20_000, warmup=0, window=20_000),
    ),
    Run(
        key="queued-nodemailer",
        label="Nodemailer, 20,000 queued at once",
        peer="nodemailer",
        job=Job(messages=20_000, warmup=0, window=20_000),
        patience=120,
    ),
    Run(
        key="million",
        label="mailpool, 1,000,000 through send_many",
        peer="mailpool",
        server="sink",
        job=Job(messages=1_000_000, depth=8, many=True),
        patience=280,
    ),
]

HUGE = [
    Run(
        key=kind,
        label=f"mailpool, one message with 1 GiB attached{how}",
        peer="mailpool",
        server="sink",
        job=Job(messages=1, warmup=0, kind=kind),
        patience=280,
    )
    for kind, how in (("huge", ""), ("binary", ", binary"))
]

ATTACHMENTS = [
    Run(
        key=f"attachment-{peer}",
        label=f"{label}, composing, 1 MiB attached",
        peer=peer,
        server="none",
        job=Job(messages=300, warmup=30, kind="attachment"),
    )
    for peer, label in (("mailpool", "mailpool"), ("nodemailer", "Nodemailer"))
]

RECONNECTING = [
    Run(
        key=key,
        label=f"mailpool, TLS, 100 ms, {label}",
        peer="mailpool",
        server="sink-data",
        round_trip=100,
        job=Job(messages=1_500, warmup=25, window=200, tls=True, max_messages=most, chunking=False),
        patience=90,
    )
    for key, label, most in (
        ("kept", "connections kept", 0),
        ("replaced", "replaced after 100 messages", 100),
    )
]
# One message at a time for each of five connections, and place for a sixth: the new one is there before the old one goes.
RECONNECTING += [
    dataclasses.replace(
        run,
        key=f"{run.key}-free",
        label=f"{run.label}, a place free",
        job=run.job.but(messages=700, window=5, connections=6),
    )
    for run in RECONNECTING
]


def real(server: str, peer: str, label: str, **job: object) -> Run:
    return Run(
        key=f"{server}-{peer}",
        label=f"{label}, {server.capitalize()}",
        peer=peer,
        server=server,
        job=Job(messages=600, warmup=30, loop="asyncio" if peer == "aiosmtplib" else "uvloop").but(**job),
        patience=120,
    )


REAL = [
    real(server, peer, label)
    for server in ("postfix", "exim")
    for peer, label in (
        ("mailpool", "mailpool"),
        ("nodemailer", "Nodemailer"),
        ("aiosmtplib", "aiosmtplib"),
        ("smtp-source", "smtp-source (C), prepared"),
    )
]


def spread(title: str, runs: str, sizes: Sequence[int]) -> Ratio:
    """CPU must not grow with a size: the most of these runs over the least."""
    first, *others = (f"{runs}-{size}" for size in sizes)
    return Ratio(
        title=title, ours=first, theirs=None, others=others, measure="cpu", aim=1.2, most=True, kind="spread"
    )


def peak(title: str, run: str) -> Ratio:
    """Memory has a bound, whatever is sent."""
    return Ratio(title=title, ours=run, theirs=None, measure="peak", aim=80, most=True, kind="figure")


RATIOS = [
    *(
        Ratio(
            title=f"a real {server.capitalize()}, which is the limit, against {label}",
            ours=f"{server}-mailpool",
            theirs=f"{server}-{peer}",
            aim=1,
        )
        for server in ("postfix", "exim")
        for peer, label in (("nodemailer", "Nodemailer"), ("aiosmtplib", "aiosmtplib"))
    ),
    Ratio(
        title="composed, TLS, against Nodemailer over TLS",
        ours="sink-tls",
        theirs="nodemailer-tls",
        aim=15,
        by_cpu=True,
    ),
    Ratio(
        title="composed, CHUNKING, against our own DATA",
        ours="sink-chunking",
        theirs="sink-data",
        aim=1.5,
        by_cpu=True,
    ),
    Ratio(
        title="the same with pipeline_depth=8",
        ours="sink-chunking-8",
        theirs="sink-data",
        aim=1.5,
        by_cpu=True,
    ),
    Ratio(
        title="max_messages=100 against none, 100 ms, TLS, all busy: loss",
        ours="replaced",
        theirs="kept",
        aim=0.07,
        most=True,
        kind="loss",
    ),
    Ratio(
        title="the same with a place free for the new connection: loss",
        ours="replaced-free",
        theirs="kept-free",
        aim=0.01,
        most=True,
        kind="loss",
    ),
    Ratio(
        title="5 % refused recipients against none: settled per second lost",
        ours="refused",
        theirs="sink-data",
        measure="settled",
        aim=0.05,
        most=True,
        kind="loss",
    ),
    Ratio(
        title="composing alone, 1 MiB attachment, against Nodemailer's composer",
        ours="attachment-mailpool",
        theirs="attachment-nodemailer",
        measure="octets",
        aim=1.5,
    ),
    Ratio(
        title="peak memory, 20,000 queued, against Nodemailer",
        ours="queued-mailpool",
        theirs="queued-nodemailer",
        measure="peak",
        aim=0.4,
        most=True,
    ),
    peak("peak memory, 1,000,000 through send_many, MB", "million"),
    peak("peak memory, one message with a file of 1 GiB attached, MB", "huge"),
    spread("CPU per message, 1 to 50 connections: most over least", "connections", CONNECTIONS),
    spread("the same of replay, which understands nothing", "replay-connections", CONNECTIONS),
    spread("CPU per message, 10 to 100,000 queued: most over least", "queue", QUEUES),
]

FULL = Plan(
    name="full",
    groups=[
        *QUICK.groups,
        Group(title="other clients, no latency, smtp-sink", runs=OTHERS),
        Group(title="own sink: TLS, CHUNKING, refusals", runs=SERVERS),
        Group(title="20 ms round trip, 5 connections", runs=far(20, "near"), at_once=True, rounds=2),
        Group(title="reconnecting, TLS, 100 ms", runs=RECONNECTING, at_once=True, rounds=1),
        Group(title="connections and queue", runs=FLAT),
        Group(title="attachments", runs=ATTACHMENTS),
        Group(title="real servers", runs=REAL, rounds=2),
        Group(title="memory", runs=[*MEMORY, *HUGE], rounds=1),
    ],
    ratios=[*QUICK.ratios, *RATIOS],
)
