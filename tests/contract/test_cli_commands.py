"""``mailpool send`` and ``mailpool verify`` against a server, as programs of their own."""

from __future__ import annotations

import asyncio
import csv
import os
import sys
from pathlib import Path

import pytest

pytest.importorskip("typer")

from mailpool.testing import Authority, Fault, ScriptedServer, reply
from mailpool.testing.faults import Incident

SECRET = "correct horse"


async def mailpool(*arguments: str, file_size: int | None = None, **environment: str) -> tuple[int, str, str]:
    """``file_size``: the most octets that a file may have."""
    program = [sys.executable, "-W", "error", "-m", "mailpool.cli"]
    if file_size is not None:
        bound = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({file_size}, {file_size}))"
        program[3:] = ["-c", f"{bound}; import sys; from mailpool.cli import main; main()"]
    process = await asyncio.create_subprocess_exec(
        *program, *arguments,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "COLUMNS": "200", **environment},
    )  # fmt: skip
    async with asyncio.timeout(200):
        out, err = await process.communicate()
    assert process.returncode is not None
    # Whatever goes wrong, a password is never shown, and a traceback is no answer.
    assert SECRET not in out.decode() + err.decode()
    assert "Traceback" not in err.decode()
    return process.returncode, out.decode(), err.decode()


def url_of(server: ScriptedServer, scheme: str = "smtp") -> str:
    return f"{scheme}://{server.host}:{server.port}"


def send(*more: str) -> list[str]:
    return ["send", "--from", "alice@example.com", "--subject", "Hi {name}", *more]


@pytest.fixture
def people(tmp_path: Path) -> Path:
    path = tmp_path / "people.csv"
    path.write_text("email,name,city\n" + "".join(f"p{n}@example.com,Zoë {n},Bern\n" for n in range(1, 21)))
    return path


async def test_one_message_with_everything(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("plain {text}")
    (tmp_path / "page.html").write_text("<p>marked up</p>")
    (tmp_path / "list.csv").write_text("a,b\n")
    async with ScriptedServer() as server:
        status, out, _ = await mailpool(
            *send("--url", url_of(server), "--to", "b@example.com", "--to", "c@example.com"),
            *("--text-file", str(tmp_path / "text.txt"), "--html-file", str(tmp_path / "page.html")),
            *("--attach", str(tmp_path / "list.csv")),
        )
    assert status == 0
    assert "1 accepted" in out
    (message,) = server.messages
    assert message.recipients == ("b@example.com", "c@example.com")
    # Without a table nothing is a field.
    assert b"plain {text}" in message.content
    assert b"marked up" in message.content
    assert b'filename="list.csv"' in message.content or b"filename=list.csv" in message.content


async def test_a_mail_merge_with_its_report(people: Path, tmp_path: Path) -> None:
    faults = [
        Fault(at="RCPT", do=reply("550 5.1.1 no such user"), match="p3@", times=None),
        Fault(at="RCPT", do=reply("450 4.2.0 later"), match="p4@", times=None),
    ]
    report = tmp_path / "report.csv"
    async with ScriptedServer(faults=faults) as server:
        status, out, err = await mailpool(
            *send("--csv", str(people), "--text", "Dear {name} of {city}", "--report", str(report)),
            *("--max-connections", "2", "--max-messages", "5"),
            MAILPOOL_URL=url_of(server),
        )
    assert status == 1
    assert "18 accepted, 1 rejected, 1 deferred, 0 uncertain, 0 not sent" in out
    assert "550 5.1.1 no such user" in err
    assert server.peak_connections <= 2
    with report.open(newline="") as file:
        rows = {row["address"]: row for row in csv.DictReader(file)}
    assert len(rows) == 20
    assert rows["p3@example.com"]["outcome"] == "rejected"
    assert rows["p3@example.com"]["reply"] == "550 5.1.1 no such user"
    assert rows["p4@example.com"]["outcome"] == "deferred"
    assert rows["p1@example.com"]["reply"].startswith("250")
    sent = {message.recipients[0] for message in server.messages}
    assert sent == {address for address, row in rows.items() if row["outcome"] == "accepted"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--text", "{nam}"], "there is no column 'nam'"),
        (["--text", "{name.__class__}"], "no plain field name"),
        (["--text", "x", "--to", "b@example.com"], "either --to or --csv"),
        ([], "--text"),
        (["--text", "x", "--rate", "many"], "rate"),
        (["--text", "x", "--report", "/nowhere/at/all.csv"], "/nowhere/at/all.csv"),
        (["--text", "x", "--user", "alice@example.com"], "MAILPOOL_PASSWORD"),
    ],
)
async def test_what_is_wrong_is_said_before_anything_is_sent(
    people: Path, arguments: list[str], words: str
) -> None:
    async with ScriptedServer() as server:
        status, _, err = await mailpool(*send("--csv", str(people), "--url", url_of(server)), *arguments)
        assert status == 2
        assert words in err
        assert server.connections == []


async def test_no_server_is_named() -> None:
    status, _, err = await mailpool(*send("--to", "b@example.com", "--text", "x"))
    assert status == 2
    assert "MAILPOOL_URL" in err


@pytest.mark.parametrize("where", ["environment", "url"])
async def test_the_password_is_never_shown(where: str) -> None:
    async with ScriptedServer(auth={"alice@example.com": SECRET}) as server:
        place = f"{server.host}:{server.port}"
        if where == "url":
            more, environment = ["--url", f"smtp://alice%40example.com:correct%20horse@{place}"], {}
        else:
            more = ["--url", f"smtp://{place}", "--user", "alice@example.com"]
            environment = {"MAILPOOL_PASSWORD": SECRET}
        arguments = [*send("--to", "b@example.com", "--text", "x"), *more]
        status, _, _ = await mailpool(*arguments, **environment)
        assert (status, len(server.messages)) == (0, 1)
        status, out, _ = await mailpool(*arguments, "--dry-run", **environment)
        assert (status, len(server.messages)) == (0, 1)
        assert "***@" in out


async def test_a_wrong_password_fails_all_and_says_why(people: Path) -> None:
    async with ScriptedServer(auth={"alice@example.com": "another"}) as server:
        status, out, err = await mailpool(
            *send(
                "--csv", str(people), "--text", "x", "--url", url_of(server), "--user", "alice@example.com"
            ),
            MAILPOOL_PASSWORD=SECRET,
        )
    assert status == 1
    assert "0 accepted" in out
    assert "20 not sent" in out
    assert "535" in err


async def test_a_bad_address_is_one_message_that_is_not_sent(tmp_path: Path) -> None:
    table = tmp_path / "people.csv"
    table.write_text('email,name\na@example.com,A\n"b@example.com, c@example.com",B\nd@example.com,D\n')
    arguments = send("--csv", str(table), "--text", "x")
    async with ScriptedServer() as server:
        status, _, err = await mailpool(*arguments, "--url", url_of(server), "--dry-run")
        assert (status, server.connections) == (1, [])
        assert "row 2" in err
        status, out, _ = await mailpool(*arguments, "--url", url_of(server))
    assert status == 1
    assert "2 accepted, 0 rejected, 0 deferred, 0 uncertain, 1 not sent" in out
    assert [m.recipients for m in server.messages] == [("a@example.com",), ("d@example.com",)]


async def test_a_rehearsal_composes_every_message(tmp_path: Path) -> None:
    table = tmp_path / "people.csv"
    table.write_text('email,name\na@example.com,A\nb@example.com,"B\nC"\n')
    arguments = ("--csv", str(table), "--text", "x", "--dry-run", "--url", f"json://{tmp_path}/out.json")
    status, out, err = await mailpool(*send(*arguments))
    assert (status, "row 1" in err, "row 2" in err) == (1, False, True)
    assert "would go to json" in out
    status, _, err = await mailpool("send", "--from", "nobody", *arguments)
    assert (status, "row 1: from" in err) == (1, True)
    status, _, err = await mailpool(
        *send("--to", "nobody", "--text", "x", "--dry-run", "--url", "smtp://localhost")
    )
    assert (status, "to: 'nobody'" in err) == (1, True)
    assert not (tmp_path / "out.json").exists()


@pytest.mark.parametrize("made_from", ["--csv", "--attach"])
async def test_a_report_is_not_written_over_what_is_sent(
    people: Path, tmp_path: Path, made_from: str
) -> None:
    other = tmp_path / "other.txt"
    other.write_text("x")
    files = {"--csv": people, "--text-file": other, "--attach": other, "--report": other}
    files["--report"] = link = tmp_path / "link"
    link.symlink_to(files[made_from])
    before = files[made_from].read_bytes()
    async with ScriptedServer() as server:
        arguments = [text for option, path in files.items() for text in (option, str(path))]
        status, _, err = await mailpool(
            "send", "--from", "a@example.com", *arguments, "--url", url_of(server)
        )
        assert (status, server.connections) == (2, [])
    assert "written over" in err
    assert files[made_from].read_bytes() == before


async def test_a_report_that_cannot_be_written_ends_the_batch_and_loses_no_outcome(
    people: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report.csv"
    people.write_text("email\n" + "".join(f"p{n}@example.com\n" for n in range(5_000)))
    async with ScriptedServer() as server:
        status, out, err = await mailpool(
            *(
                "send",
                "--from",
                "a@example.com",
                "--csv",
                str(people),
                "--text",
                "x",
                "--report",
                str(report),
            ),
            *("--url", url_of(server)),
            file_size=8_192,
        )
        sent = {message.recipients[0] for message in server.messages}
    assert status == 1
    assert 0 < len(sent) < 5_000
    assert f" {len(sent)} accepted" in out
    lines = [*report.read_text().splitlines()[1:], *err.splitlines()]
    told = {cells[1] for cells in csv.reader(lines) if len(cells) == 8 and cells[2] == "accepted"}
    assert told == sent


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
async def test_a_report_without_any_room_is_found_out_before_anything_is_sent(people: Path) -> None:
    async with ScriptedServer() as server:
        status, _, err = await mailpool(
            *send("--csv", str(people), "--text", "x", "--report", "/dev/full", "--url", url_of(server))
        )
        assert (status, server.connections) == (2, [])
    assert "/dev/full" in err


async def test_a_table_that_changes_meanwhile_is_told(people: Path) -> None:
    people.write_text("email\n" + "".join(f"p{n:05}@example.com\n" for n in range(5_000)))

    def spoil(incident: Incident) -> None:
        with people.open("r+b") as file:
            file.seek(50_000)
            file.write(b"\xff" * 1_000)
        incident.answer()

    async with ScriptedServer(faults=[Fault(at="MAIL", do=spoil)]) as server:
        status, out, err = await mailpool(
            *("send", "--from", "a@example.com", "--csv", str(people), "--text", "x", "--url", url_of(server))
        )
        assert f" {len(server.messages)} accepted" in out
    assert status == 1
    assert "is not UTF-8" in err


async def test_a_table_from_a_pipe_is_refused_in_words(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = os.open(pipe, os.O_RDWR)
    os.write(writer, b"email\na@example.com\n")
    status, _, err = await mailpool(*send("--csv", str(pipe), "--text", "x", "--url", "smtp://localhost"))
    os.close(writer)
    assert status == 2
    assert "a pipe" in err


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
async def test_closed_standard_streams_end_no_batch(people: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.csv"
    async with ScriptedServer() as server:
        arguments = [
            *send("--csv", str(people), "--text", "x"),
            "--url",
            url_of(server),
            "--report",
            str(report),
        ]
        process = await asyncio.create_subprocess_exec(
            "sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-', sys.executable, "-m", "mailpool.cli", *arguments
        )  # fmt: skip
        async with asyncio.timeout(200):
            assert await process.wait() == 0
        assert len(server.messages) == 20
    assert report.read_text().count(",accepted,") == 20


async def test_a_terminal_that_cannot_show_a_letter_ends_nothing() -> None:
    arguments = send("--to", "b@example.com", "--text", "Grüße 中", "--dry-run", "--url", "smtp://localhost")
    status, out, _ = await mailpool(*arguments, PYTHONIOENCODING="ascii")
    assert (status, "Gr\\xfc" in out) == (0, True)


@pytest.mark.parametrize("command", ["send", "verify"])
async def test_a_certificate_that_is_not_there_is_told_in_words(command: str) -> None:
    arguments = (
        ["--from", "a@example.com", "--to", "b@example.com", "--text", "x"] if command == "send" else []
    )
    status, _, err = await mailpool(command, *arguments, "--url", "smtp://localhost", "--ca-file", "/nowhere")
    assert status == 2
    assert "'/nowhere' cannot be loaded" in err


async def test_verify_tells_what_it_saw(authority: Authority, tmp_path: Path) -> None:
    ca = authority.write_ca(tmp_path / "ca.pem")
    tls = authority.server_context("127.0.0.1", days=9)
    async with ScriptedServer(auth={"alice@example.com": SECRET}, tls=tls, implicit_tls=True) as server:
        status, out, err = await mailpool(
            *(
                "verify",
                "--url",
                url_of(server, "smtps"),
                "--user",
                "alice@example.com",
                "--ca-file",
                str(ca),
            ),
            MAILPOOL_PASSWORD=SECRET,
        )
    assert (status, err) == (0, "")
    for words in ("PIPELINING", "SIZE 10485760", "PLAIN", "TLSv1.3", "commonName=127.0.0.1",
                  "commonName=mailpool test authority", "days left: renew it soon", "greeting", "AUTH", "█"):  # fmt: skip
        assert words in out


async def test_verify_tells_where_it_failed(authority: Authority) -> None:
    async with ScriptedServer(auth={"alice@example.com": "another"}) as server:
        status, _, err = await mailpool(
            "verify", "--url", url_of(server), "--user", "alice@example.com", MAILPOOL_PASSWORD=SECRET
        )
    assert status == 1
    assert "AUTH" in err
    assert "535" in err
    async with ScriptedServer(tls=authority.server_context("127.0.0.1"), implicit_tls=True) as server:
        status, _, err = await mailpool("verify", "--url", url_of(server, "smtps"))
    assert status == 1
    assert "certificate" in err
    status, _, err = await mailpool("verify", "--url", f"smtp://127.0.0.1:{server.port}")
    assert status == 1
    assert "connecting" in err


async def test_help_and_version() -> None:
    for arguments in (["--help"], ["send", "--help"], ["verify", "-h"], ["demo", "--help"]):
        status, out, _ = await mailpool(*arguments)
        assert status == 0
        assert "Usage" in out
        assert "--lose" not in out
    assert (await mailpool("--version"))[1].startswith("mailpool ")


async def test_other_ways_out_are_urls_too(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/out?format=maildir"
    status, out, err = await mailpool(*send("--url", url, "--to", "b@example.com", "--text", "hi"))
    assert (status, err) == (0, "")
    assert "1 accepted" in out
    assert len(list((tmp_path / "out" / "new").iterdir())) == 1
    status, out, _ = await mailpool("verify", "--url", "memory:")
    assert status == 0
    assert "memory" in out
    assert "TLS" not in out
