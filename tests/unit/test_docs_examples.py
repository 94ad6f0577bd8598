"""The examples of README.md and of docs/ run, against a real connection with TLS and a login.

Only the name look-up is replaced: every ``*.example.org`` leads to a scripted server on this machine, whose certificate
is trusted as the system's authorities are. How a block is run:

    ```python           a script when it calls ``asyncio.run``; otherwise the body of a coroutine that finds the public
                        names, ``transporter``, ``message`` and ``messages``
    ```python no-run    is only compiled
    ```python sigterm   a script that gets SIGTERM once the server has its first message
    ```text             right after a block: what it prints, line by line; ``…`` stands for anything

``docs/testing.md`` has its own test.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import mailpool
from mailpool.testing import Authority, Fault, ScriptedServer, deliver_then_close, in_thread, reply

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted(page for page in (ROOT / "docs").glob("*.md") if page.name != "testing.md"),
]
_BLOCK = re.compile(
    r"^```python(?P<mark>[^\n]*)\n(?P<code>.*?)^```\n(?:\n```text\n(?P<output>.*?)^```\n)?",
    re.MULTILINE | re.DOTALL,
)
MARKS = {"", "no-run", "sigterm"}


@dataclass
class Example:
    page: Path
    line: int
    mark: str
    code: str
    output: str | None

    def compiled(self) -> Any:
        # Line numbers of the page, so that a traceback leads there.
        return compile(
            "\n" * self.line + self.code, str(self.page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        )


def _examples() -> list[Example]:
    found = []
    for page in PAGES:
        text = page.read_text("utf-8")
        for block in _BLOCK.finditer(text):
            line = text.count("\n", 0, block.start()) + 1
            found.append(Example(page, line, block["mark"].strip(), block["code"], block["output"]))
    return found


EXAMPLES = _examples()


class Relay:
    """Port 465 speaks TLS from the first octet, every other port offers STARTTLS."""

    def __init__(self, authority: Authority) -> None:
        tls = authority.server_context("*.example.org")
        options: dict[str, Any] = {
            "tls": tls,
            "auth": {
                "me@example.org": "secret",
                "news@example.org": "secret",
                "token@example.org": "a-token",
            },
            "mechanisms": ["PLAIN", "LOGIN", "XOAUTH2"],
            "auth_required": False,
        }
        self.servers = [ScriptedServer(**options), ScriptedServer(**options, implicit_tls=True)]
        for server in self.servers:
            server.faults.add(
                Fault(at="RCPT", match="<nobody@", do=reply("550 5.1.1 no such user"), times=None),
                Fault(at="RCPT", match="<later@", do=reply("450 4.2.0 try again in 5 minutes"), times=None),
                Fault(at="END", match="Subject: lost answer", do=deliver_then_close(), times=None),
            )

    async def resolve(self, host: str, port: int, *, family: int = 0) -> Any:
        if not host.endswith(".example.org") or host.startswith("unknown."):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        server = self.servers[port == 465]
        return [(socket.AF_INET, (server.host, server.port))]

    @property
    def received(self) -> int:
        return sum(len(server.messages) for server in self.servers)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def relay(authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    relay = Relay(authority)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.write_ca(tmp_path / "ca.pem")))
    monkeypatch.setattr("mailpool.net.dial.resolve", relay.resolve)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "invoice.pdf").write_bytes(b"%PDF-1.7 example")
    (tmp_path / "logo.png").write_bytes(b"\x89PNG example")
    with in_thread(relay.servers[0]), in_thread(relay.servers[1]):
        yield relay
    assert [server.violations for server in relay.servers] == [[], []]


async def _as_coroutine(example: Example) -> None:
    names: dict[str, Any] = {name: getattr(mailpool, name) for name in mailpool.__all__}
    names["asyncio"] = asyncio
    names["messages"] = [
        {"from": "me@example.org", "to": f"reader{n}@example.org", "subject": f"Issue {n}", "text": "Hello"}
        for n in range(3)
    ]
    names["message"] = names["messages"][0]
    transporter = mailpool.create_transport(
        host="smtp.example.org", port=587, auth=("me@example.org", "secret"), pool=True
    )
    async with transporter:
        names["transporter"] = transporter
        code = example.compiled()
        if code.co_flags & inspect.CO_COROUTINE:
            await eval(code, names)
        else:
            exec(code, names)


def _send_sigterm(relay: Relay, done: threading.Event) -> None:
    while not relay.received and not done.is_set():
        time.sleep(0.01)
    if not done.is_set():
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize(
    "example",
    EXAMPLES,
    ids=[f"{example.page.relative_to(ROOT)}:{example.line}" for example in EXAMPLES],
)
def test_example(example: Example, relay: Relay) -> None:
    assert example.mark in MARKS
    if example.mark == "no-run":
        example.compiled()
        return
    done = threading.Event()
    if example.mark == "sigterm":
        threading.Thread(target=_send_sigterm, args=(relay, done), daemon=True).start()
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            if "asyncio.run(" in example.code:
                exec(example.compiled(), {"__name__": "__main__"})
            else:
                asyncio.run(_as_coroutine(example))
    finally:
        done.set()
    if example.output is not None:
        _compare(printed.getvalue().splitlines(), example.output.splitlines())


def _compare(printed: list[str], shown: list[str]) -> None:
    for got, wanted in zip(printed, shown, strict=False):
        pattern = ".*".join(map(re.escape, wanted.split("…")))
        assert re.fullmatch(pattern, got), f"the page shows {wanted!r}, the example prints {got!r}"
    assert len(printed) == len(shown), "\n".join(printed)


def test_few_examples_are_not_run() -> None:
    not_run = [example for example in EXAMPLES if example.mark == "no-run"]
    assert len(not_run) <= len(EXAMPLES) / 5
