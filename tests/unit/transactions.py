"""A transaction by the name of its sender, and both sides of a pipeline by hand: what is written, what is answered."""

from __future__ import annotations

from mailpool.content import BytesContent, Content
from mailpool.results import Reply
from mailpool.smtp.pipeline import Pipeline
from mailpool.smtp.transaction import Transaction


def envelope(name: str = "a", recipients: int = 1) -> bytes:
    """What goes before the content."""
    rcpts = (b"RCPT TO:<%d@%s>\r\n" % (i, name.encode()) for i in range(recipients))
    return b"MAIL FROM:<%s@x>\r\n" % name.encode() + b"".join(rcpts)


def transaction(name: str = "a", recipients: int = 1, body: bytes | Content = b"hi\r\n") -> Transaction:
    mail, *rcpts = envelope(name, recipients).splitlines(keepends=True)
    return Transaction(mail, rcpts, BytesContent(body) if isinstance(body, bytes) else body, name)


def writes(pipeline: Pipeline) -> list[bytes]:
    """Everything that can be written now, one item for each write."""
    return list(iter(pipeline.data_to_send, b""))


def answer(pipeline: Pipeline, codes: str) -> None:
    for code in codes.split():
        pipeline.receive(Reply.of(code))


def talk(pipeline: Pipeline, codes: str, start: int = 0) -> list[bytes]:
    """Hand in replies one by one, writing before each and after the last; returns the writes."""
    sent = writes(pipeline)
    for number, code in enumerate(codes.split(), start):
        pipeline.receive(Reply.of(f"{code} reply {number}"))
        sent += writes(pipeline)
    return sent
