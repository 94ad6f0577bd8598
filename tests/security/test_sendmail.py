"""CMD: a program is started for a message, and no address, output or end of it can do harm."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from mailpool import (
    AddressError,
    ConnectionFailed,
    Deferred,
    DeliveryUncertain,
    Envelope,
    Rejected,
    Sealed,
    SendError,
    SendmailCarrier,
    TimedOut,
    create_transport,
)
from mailpool.content import BytesContent

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no sendmail on Windows")

MAIL: dict[str, Any] = {
    "from": "me@example.org",
    "to": "you@example.org",
    "bcc": "hidden@example.org",
    "text": "Hello\n.\nWorld\n",
}


@pytest.fixture
def program(tmp_path: Path) -> Any:
    """Makes a program that writes down its arguments and its input, and then does what ``body`` says."""

    def make(body: str = "", read: str = "data = sys.stdin.buffer.read()") -> Path:
        path = tmp_path / "sendmail"
        path.write_text(
            f"#!{sys.executable} -IS\n"
            "import json, os, signal, sys, time\n"
            f"note = {str(tmp_path)!r}\n"
            "open(note + '/pid', 'w').write(str(os.getpid()))\n"
            "data = b''\n"
            f"{read}\n"
            "json.dump(sys.argv[1:], open(note + '/arguments', 'w'))\n"
            "open(note + '/input', 'wb').write(data)\n"
            f"{body}\n"
        )
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return make


async def send(path: Path, message: Any = MAIL, **options: Any) -> Any:
    async with create_transport(SendmailCarrier(path, **options)) as transporter:
        return await transporter.send_mail(message)


async def failure(path: Path, message: Any = MAIL, **options: Any) -> SendError:
    with pytest.raises(SendError) as caught:
        await send(path, message, **options)
    return caught.value


def alive(tmp_path: Path) -> bool:
    try:
        os.kill(int((tmp_path / "pid").read_text()), 0)
    except ProcessLookupError:
        return False
    return True


async def gone(tmp_path: Path) -> None:
    """Wait until the process that wrote down its number is no more, or has ended and nobody has asked how."""
    state = Path("/proc") / (tmp_path / "pid").read_text() / "stat"
    async with asyncio.timeout(200):
        while alive(tmp_path):
            with contextlib.suppress(OSError):  # it ended just now, or there is no /proc
                if state.read_text().rpartition(")")[2].split()[0] == "Z":
                    return
            await asyncio.sleep(0.05)


async def written(path: Path) -> None:
    """Wait until the program has written a file, and something into it."""
    while not path.exists() or not path.read_bytes():
        await asyncio.sleep(0.01)


async def test_it_is_given_the_envelope_as_arguments_and_the_content(program: Any, tmp_path: Path) -> None:
    result = await send(program(), args=["-N", "never"])
    assert json.loads((tmp_path / "arguments").read_text()) == [
        "-i", "-f", "me@example.org", "-N", "never", "--", "you@example.org", "hidden@example.org",
    ]  # fmt: skip
    content = (tmp_path / "input").read_bytes()
    assert content.endswith(b"\n\nHello\n.\nWorld\n")
    assert b"\r" not in content
    assert b"hidden" not in content
    assert result.accepted == ("you@example.org", "hidden@example.org")
    assert result.response == "250 2.0.0 queued by sendmail"


async def test_the_null_reverse_path_and_crlf(program: Any, tmp_path: Path) -> None:
    raw = b"Subject: x\r\n\r\ny\r\n"
    await send(program(), {"raw": raw, "envelope": {"from": "", "to": "you@example.org"}}, newline="crlf")
    assert json.loads((tmp_path / "arguments").read_text())[:3] == ["-i", "-f", "<>"]
    assert (tmp_path / "input").read_bytes() == raw


async def test_large_content_goes_block_by_block(program: Any, tmp_path: Path) -> None:
    class Endless(BytesContent):
        def blocks(self) -> Any:
            for _ in range(300):
                yield b"x" * 65_534 + b"\r\n"

    large = Sealed(Envelope("", ["you@example.org"]), Endless(b""), "<1@example.org>")
    await send(program(), large)
    assert (tmp_path / "input").stat().st_size == 300 * 65_535


async def test_many_recipients_come_in_several_runs(program: Any, tmp_path: Path) -> None:
    path = program("open(note + '/runs', 'a').write('x')")
    result = await send(path, {**MAIL, "to": [f"r{n}@example.org" for n in range(1_200)]})
    assert len(result.accepted) == 1_201
    assert (tmp_path / "runs").read_text() == "xxx"


@pytest.mark.rule("CMD-01")
@pytest.mark.parametrize(
    "address",
    [
        "-X/var/x@example.org",
        '"-X/var/x"@example.org',
        "-oQ@example.org",
        '" -f"@example.org',
        "--@example.org",
    ],
)
@pytest.mark.parametrize("field", ["from", "to", "cc", "bcc"])
async def test_cmd_01_no_address_is_an_option(program: Any, tmp_path: Path, address: str, field: str) -> None:
    path = program()
    message = {**MAIL, field: address}
    if address.startswith('" '):
        # Behind -- and as one argument this is an address and nothing else.
        await send(path, message)
        arguments = json.loads((tmp_path / "arguments").read_text())
        assert address in (arguments[2], *arguments[arguments.index("--") :])
        return
    with pytest.raises(AddressError, match="begins like an option"):
        await send(path, message)
    assert not (tmp_path / "pid").exists()


@pytest.mark.rule("CMD-01")
@pytest.mark.parametrize(
    "address", ["-oQ", " -f", "-X/var/x", "you@example.org -X/var/x", "a@example.org\n-bs"]
)
async def test_cmd_01_what_is_no_address_is_refused_before(
    program: Any, tmp_path: Path, address: str
) -> None:
    with pytest.raises(AddressError):
        await send(program(), {**MAIL, "envelope": {"from": "me@example.org", "to": [address]}})
    assert not (tmp_path / "pid").exists()


@pytest.mark.rule("CMD-01")
async def test_cmd_01_recipients_follow_two_hyphens(program: Any, tmp_path: Path) -> None:
    await send(program())
    arguments = json.loads((tmp_path / "arguments").read_text())
    assert arguments.index("--") < arguments.index("you@example.org")


@pytest.mark.rule("CMD-02")
@pytest.mark.parametrize(
    "address", ["$(touch${IFS}x)@example.org", "`touch`@example.org", "a|touch@example.org", "*@example.org"]
)
async def test_cmd_02_no_shell_looks_at_it(program: Any, tmp_path: Path, address: str) -> None:
    if any(c in address for c in "()"):
        address = f'"{address.partition("@")[0]}"@example.org'
    await send(program(), {**MAIL, "envelope": {"from": "me@example.org", "to": address}})
    assert json.loads((tmp_path / "arguments").read_text())[-1] == address
    assert sorted(os.listdir(tmp_path)) == ["arguments", "input", "pid", "sendmail"]


@pytest.mark.rule("CMD-02")
@pytest.mark.parametrize(
    ("code", "kind", "word"),
    [
        (64, Rejected, "usage"), (67, Rejected, "no such user"), (69, Rejected, "unavailable"),
        (71, Deferred, "system error"), (74, Deferred, "input or output"), (75, Deferred, "temporary failure"),
        (77, Rejected, "no permission"), (78, Rejected, "configuration"), (1, Rejected, "unknown"), (127, Rejected, "unknown"),
    ],
)  # fmt: skip
async def test_cmd_02_exit_codes(program: Any, code: int, kind: type[SendError], word: str) -> None:
    error = await failure(program(f"sys.exit({code})"))
    assert type(error) is kind
    assert error.temporary == (kind is Deferred)
    assert not error.may_have_been_delivered
    assert f"ended with {code}" in str(error)
    assert word in str(error)


async def test_a_program_that_says_nothing_is_not_quoted(program: Any) -> None:
    error = await failure(program("sys.exit(67)"))
    assert str(error) == "sendmail ended with 67 (no such user)"


@pytest.mark.rule("CMD-02")
async def test_cmd_02_stderr_is_shown_bounded_and_escaped(program: Any) -> None:
    error = await failure(program("sys.stderr.write('bad\\x1b[31m\\nthing' + 'x' * 10**6); sys.exit(65)"))
    assert "bad\\x1b[31m / thingxx" in str(error)
    assert str(error).isprintable()
    assert len(str(error)) < 2_200


@pytest.mark.rule("CMD-02")
async def test_cmd_02_a_signal(program: Any) -> None:
    error = await failure(program("os.kill(os.getpid(), signal.SIGSEGV)"))
    assert isinstance(error, DeliveryUncertain)
    assert "SIGSEGV" in str(error)


@pytest.mark.rule("CMD-02")
async def test_cmd_02_a_program_that_does_not_read(program: Any) -> None:
    large = {**MAIL, "text": "line\n" * 400_000}
    refused = await failure(program("sys.exit(65)", read=""), large)
    assert isinstance(refused, Rejected)
    silent = await failure(program("sys.exit(0)", read=""), large)
    assert isinstance(silent, DeliveryUncertain)
    killed = await failure(program("os.kill(os.getpid(), signal.SIGKILL)", read=""), large)
    assert type(killed) is Deferred


@pytest.mark.rule("CMD-02")
@pytest.mark.parametrize("had_everything", [True, False])
async def test_cmd_02_the_child_is_killed_when_time_is_over(
    program: Any, tmp_path: Path, pass_time: Any, had_everything: bool
) -> None:
    path = program("time.sleep(600)") if had_everything else program("", read="time.sleep(600)")
    failing = asyncio.ensure_future(failure(path, {**MAIL, "text": "line\n" * 400_000}, timeout=1_000))
    await written(tmp_path / ("input" if had_everything else "pid"))
    pass_time(1_000)
    assert type(await failing) is (DeliveryUncertain if had_everything else TimedOut)
    assert not alive(tmp_path)


@pytest.mark.rule("CMD-02")
async def test_cmd_02_its_children_are_killed_too(program: Any, tmp_path: Path, pass_time: Any) -> None:
    path = program(
        "import subprocess\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        "with open(note + '/pid', 'w') as file: file.write(str(child.pid))\n"
        "with open(note + '/has_a_child', 'w') as file: file.write('yes')\n"
        "child.wait()"
    )
    failing = asyncio.ensure_future(failure(path, timeout=1_000))
    await written(tmp_path / "has_a_child")
    pass_time(1_000)
    await failing
    await gone(tmp_path)


@pytest.mark.rule("CMD-02")
async def test_cmd_02_the_child_is_killed_when_the_message_is_cancelled(program: Any, tmp_path: Path) -> None:
    transporter = create_transport(SendmailCarrier(program("", read="time.sleep(600)")))
    sending = asyncio.ensure_future(transporter.send_mail({**MAIL, "text": "line\n" * 400_000}))
    await written(tmp_path / "pid")
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await transporter.close()
    assert not alive(tmp_path)


@pytest.mark.rule("CMD-02")
async def test_cmd_02_one_that_has_everything_is_not_killed_for_it(program: Any, tmp_path: Path) -> None:
    going_on = "while not os.path.exists(note + '/go_on'): time.sleep(0.01)"
    transporter = create_transport(SendmailCarrier(program(going_on)))
    heard: list[Any] = []
    transporter.on("detached", lambda *details: heard.append(details))
    sending = asyncio.ensure_future(transporter.send_mail(MAIL))
    await written(tmp_path / "input")
    sending.cancel()
    (tmp_path / "go_on").touch()
    await transporter.close()
    assert sending.cancelled()
    assert [outcome.accepted for _, outcome in heard] == [("you@example.org", "hidden@example.org")]


@pytest.mark.rule("CMD-02")
async def test_cmd_02_closing_kills_it(program: Any, tmp_path: Path) -> None:
    transporter = create_transport(SendmailCarrier(program("time.sleep(600)")))
    sending = transporter.send_mail(MAIL)
    await written(tmp_path / "input")
    await transporter.close(0.1)
    with pytest.raises(DeliveryUncertain):
        await sending
    await gone(tmp_path)


@pytest.mark.rule("CMD-02")
@pytest.mark.parametrize("path", ["/no/such/program", "no-such-program-anywhere", "/etc/hosts", "/"])
async def test_cmd_02_a_program_that_cannot_be_run(path: str) -> None:
    error = await failure(Path(path))
    assert isinstance(error, ConnectionFailed)
    assert "cannot be run" in str(error)
    assert not error.temporary


@pytest.mark.rule("CMD-02")
async def test_cmd_02_one_that_leaves_a_child_with_its_stderr_holds_nothing_up(
    program: Any, tmp_path: Path
) -> None:
    path = program(
        "import subprocess\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        "open(note + '/pid', 'w').write(str(child.pid))"
    )
    result = await send(path)
    assert result.accepted
    assert alive(tmp_path)  # work in the background is its own business
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
