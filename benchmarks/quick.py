"""The main ratios, in about a minute."""

from __future__ import annotations

from .job import Job
from .plan import Group, Plan, Ratio
from .run import Run

# Enough for about a second each on a machine of two cores that nobody else uses.
COMPOSED = [
    Run(key="uvloop", label="mailpool, uvloop", peer="mailpool", job=Job(messages=12_000)),
    Run(key="nodemailer", label="Nodemailer", peer="nodemailer", job=Job(messages=1_000, warmup=400)),
    Run(
        key="pure",
        label="mailpool, uvloop, not compiled",
        peer="mailpool",
        job=Job(messages=12_000, compiled=False),
    ),
    Run(key="asyncio", label="mailpool, asyncio", peer="mailpool", job=Job(messages=12_000, loop="asyncio")),
    Run(key="source", label="smtp-source (C), prepared", peer="smtp-source", job=Job(messages=12_000)),
    Run(
        key="prepared",
        label="mailpool, uvloop, prepared",
        peer="mailpool",
        job=Job(messages=12_000, kind="prepared"),
    ),
    Run(
        key="merged",
        label="mailpool, uvloop, mail merge",
        peer="mailpool",
        job=Job(messages=12_000, kind="merged"),
    ),
    Run(
        key="replay",
        label="replay (C), prepared: the limit",
        peer="replay",
        job=Job(messages=20_000, chunking=False),
    ),
]


def far(round_trip: float, prefix: str) -> list[Run]:
    """Over a long line to a server with PIPELINING only; each for two or three seconds at 100 ms."""
    name = f"{prefix}-"
    at = f"{round_trip:g} ms"
    more = round(100 / round_trip)

    def run(key: str, label: str, peer: str, messages: int, warmup: int, **job: object) -> Run:
        made = Job(messages=messages * more, warmup=warmup, chunking=False).but(**job)
        return Run(key=name + key, label=f"{label}, {at}", peer=peer, round_trip=round_trip, job=made)

    return [
        run("mailpool", "mailpool", "mailpool", 200, 25),
        run("nodemailer", "Nodemailer", "nodemailer", 80, 25, window=100),
        run("aiosmtplib", "aiosmtplib", "aiosmtplib", 50, 5, loop="asyncio"),
        run("source", "smtp-source (C)", "smtp-source", 50, 0),
    ]


def chunked(depth: int, messages: int) -> Run:
    return Run(
        key=f"depth-{depth}",
        label=f"mailpool, CHUNKING, depth {depth}, 100 ms",
        peer="mailpool",
        server="sink",
        round_trip=100,
        job=Job(messages=messages, warmup=depth * 10, depth=depth, window=max(100, depth * 20)),
    )


FAR_CHUNKING = [
    chunked(1, 200),
    chunked(8, 1_600),
    chunked(32, 6_400),
    Run(
        key="sink-nodemailer",
        label="Nodemailer, same server, 100 ms",
        peer="nodemailer",
        server="sink",
        round_trip=100,
        job=Job(messages=80, warmup=25, window=100),
    ),
]


def compose(peer: str, letter: str) -> Run:
    ours = peer == "mailpool"
    return Run(
        key=f"compose-{letter}-{peer}",
        label=f"{'mailpool' if ours else 'Nodemailer'}, composing, {letter}",
        peer=peer,
        server="none",
        job=Job(messages=20_000 if ours else 3_000, warmup=2_000, kind="compose", letter=letter),
    )


def merge(letter: str) -> Run:
    return Run(
        key=f"merge-{letter}",
        label=f"mailpool, mail merge, {letter}",
        peer="mailpool",
        server="none",
        job=Job(messages=20_000, warmup=2_000, kind="merge", letter=letter),
    )


COMPOSING = [
    *(compose(peer, letter) for letter in ("ascii", "utf8") for peer in ("mailpool", "nodemailer")),
    *map(merge, ("ascii", "utf8")),
]

RATIOS = [
    Ratio(
        title="composed, uvloop, against Nodemailer", ours="uvloop", theirs="nodemailer", aim=20, by_cpu=True
    ),
    Ratio(title="the same, mailpool not compiled", ours="pure", theirs="nodemailer", aim=20, by_cpu=True),
    Ratio(
        title="composed, asyncio, against Nodemailer",
        ours="asyncio",
        theirs="nodemailer",
        aim=12,
        by_cpu=True,
    ),
    Ratio(
        title="composed, uvloop, against smtp-source (which composes nothing)",
        ours="uvloop",
        theirs="source",
        aim=1.2,
    ),
    Ratio(title="prepared, uvloop, against smtp-source", ours="prepared", theirs="source", aim=2),
    Ratio(
        title="100 ms, PIPELINING only, against Nodemailer",
        ours="far-mailpool",
        theirs="far-nodemailer",
        aim=1.9,
    ),
    Ratio(
        title="100 ms, PIPELINING only, against aiosmtplib",
        ours="far-mailpool",
        theirs="far-aiosmtplib",
        aim=3.8,
    ),
    Ratio(
        title="100 ms, PIPELINING only, against smtp-source",
        ours="far-mailpool",
        theirs="far-source",
        aim=3.8,
    ),
    *(
        Ratio(
            title=f"100 ms, CHUNKING, depth {depth}, against Nodemailer",
            ours=f"depth-{depth}",
            theirs="sink-nodemailer",
            aim=aim,
        )
        for depth, aim in ((1, 1.9), (8, 14), (32, 50))
    ),
    *(
        Ratio(
            title=f"composing alone, {letter}, against Nodemailer's composer",
            ours=f"compose-{letter}-mailpool",
            theirs=f"compose-{letter}-nodemailer",
            measure="settled",
            aim=aim,
            by_cpu=True,
        )
        for letter, aim in (("ascii", 20), ("utf8", 5))
    ),
    *(
        Ratio(
            title=f"mail merge alone, {letter}, against composing",
            ours=f"merge-{letter}",
            theirs=f"compose-{letter}-mailpool",
            measure="settled",
            aim=aim,
        )
        for letter, aim in (("ascii", 1), ("utf8", 1.5))
    ),
    Ratio(title="mail merge through the pool, against composed", ours="merged", theirs="uvloop", aim=1),
]

QUICK = Plan(
    name="quick",
    groups=[
        Group(title="composed and prepared, no latency, smtp-sink", runs=COMPOSED),
        Group(
            title="100 ms round trip, 5 connections",
            runs=[*far(100, "far"), *FAR_CHUNKING],
            at_once=True,
            rounds=2,
        ),
        Group(title="composing alone", runs=COMPOSING),
    ],
    ratios=RATIOS,
)
