"""Files that a message names: nothing is read where none may be, and nothing outside of the one directory (FIL-01, FIL-03)."""

from __future__ import annotations

import datetime
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from mailpool.errors import ConfigurationError, MessageError
from mailpool.message import Attachment, Message, seal
from mailpool.message.files import open_file
from mailpool.message.sources import LARGE
from mailpool.options.access import Access

NOW = datetime.datetime(2026, 1, 5, tzinfo=datetime.UTC)
GOOD: dict[str, Any] = {"from": "a@x.example", "to": "b@y.example"}
ENVELOPE: dict[str, Any] = {"from": "a@x.example", "to": "b@y.example"}
NONE = Access.of("none")


def octets(message: Any, access: Access) -> bytes:
    return bytes(seal(message, now=NOW, token=lambda: "0123456789", access=access))


def attached(path: Any, access: Access) -> bytes:
    return octets(GOOD | {"attachments": [{"path": path, "transfer_encoding": "8bit"}]}, access)


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A directory that may be read, with something outside of it."""
    (tmp_path / "secret").write_text("s3cret")
    shelf = tmp_path / "shelf"
    (shelf / "inner" / "deep").mkdir(parents=True)
    for name in ("a.txt", "inner/b.txt", "inner/deep/c.txt"):
        (shelf / name).write_text(f"content of {name}")
    (shelf / "big").write_bytes(b"line\n" * LARGE)
    return shelf


PLACES: dict[str, Any] = {
    "attachment": lambda where: {"attachments": [where]},
    "attachment object": lambda where: {"attachments": [Attachment(**where)]},
    "inline": lambda where: {"html": "<p>", "attachments": [{**where, "cid": "x"}]},
    "raw part": lambda where: {"attachments": [{"raw": where}]},
    "text": lambda where: {"text": where},
    "html": lambda where: {"html": where},
    "amp": lambda where: {"amp": where},
    "watch_html": lambda where: {"watch_html": where},
    "calendar": lambda where: {"calendar": where},
    "alternative": lambda where: {"alternatives": [{**where, "content_type": "text/x-a"}]},
    "raw alternative": lambda where: {"alternatives": [{"raw": where}]},
    "raw text": lambda where: {"text": {"raw": where}},
}
EVERYWHERE = pytest.mark.parametrize("place", [*PLACES, "raw", "defaults", "message object"])


def at(place: str, where: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    if place == "raw":
        return {"raw": where, "envelope": ENVELOPE}, {}
    if place == "defaults":
        return GOOD, {"attachments": [where]}
    if place == "message object":
        return Message(from_="a@x.example", to="b@y.example", html=where), {}
    return GOOD | PLACES[place](where), {}


def refusal(place: str, where: dict[str, Any], access: Access) -> MessageError:
    message, defaults = at(place, where)
    with pytest.raises(MessageError) as caught:
        seal(message, now=NOW, token=lambda: "0123456789", access=access, defaults=defaults)
    assert caught.value.field
    assert "s3cret" not in str(caught.value)
    return caught.value


@pytest.mark.rule("FIL-01")
@EVERYWHERE
def test_no_file_is_read_where_none_may_be(place: str, shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []
    monkeypatch.setattr(os, "open", lambda *args, **_: opened.append(args))
    path = shelf / "a.txt"
    for given in (path, str(path), f"file://{path}", f" FILE:{path}"):
        assert "not allowed" in str(refusal(place, {"path": given}, NONE))
    assert opened == []


@pytest.mark.rule("FIL-02")
@EVERYWHERE
@pytest.mark.parametrize("key", ["href", "path"])
@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "HTTPS://localhost/", " http://x/"])
def test_no_url_is_fetched_where_none_may_be(place: str, key: str, url: str) -> None:
    assert "not allowed" in str(refusal(place, {key: url}, Access()))


@pytest.mark.rule("FIL-01")
@EVERYWHERE
def test_a_file_is_read_where_it_may_be(place: str, shelf: Path) -> None:
    (shelf / "part").write_text("Content-Type: text/x-a\n\nhere\n")
    message, defaults = at(place, {"path": shelf / "part"})
    assert seal(message, now=NOW, token=lambda: "01", access=Access(), defaults=defaults).content.size > 30


@pytest.mark.rule("FIL-03")
@pytest.mark.parametrize("form", ["relative", "absolute", "dots", "link inside", "path object"])
@pytest.mark.parametrize("base", ["plain", "with slash", "link"])
def test_what_is_in_the_directory_is_read(shelf: Path, form: str, base: str) -> None:
    (shelf / "link.txt").symlink_to(shelf / "inner" / "b.txt")
    (shelf.parent / "other").symlink_to(shelf)
    directory = {"plain": str(shelf), "with slash": f"{shelf}/", "link": shelf.parent / "other"}[base]
    given: Any = {
        "relative": "inner/b.txt",
        "absolute": str(shelf / "inner" / "b.txt"),
        "dots": "inner/deep/../../inner/b.txt",
        "link inside": "link.txt",
        "path object": Path("inner") / "b.txt",
    }[form]
    assert b"content of inner/b.txt" in attached(given, Access(files=directory))


def test_large_files_of_the_directory_are_streamed_from_there(shelf: Path) -> None:
    assert attached("big", Access(files=shelf)).count(b"line\r\n") == LARGE


@pytest.mark.rule("FIL-03")
@pytest.mark.parametrize(
    "path",
    ["../secret", "inner/../../secret", "{top}/secret", "{top}/shelf/../secret", "{top}/shelf2", "out.txt", "folder/secret",
     "up/secret", "//{top}/secret", "//server/share/x", "\\\\server\\share\\x", "file://{top}/secret", "FILE:a.txt",
     " file:a.txt", "/etc/passwd", "/proc/self/environ", "/dev/zero", "", ".", "..", "inner", "no such file", "a.txt\0",
     "~/secret"],
)  # fmt: skip
def test_nothing_outside_of_the_directory_is_read(shelf: Path, path: str) -> None:
    top = shelf.parent
    (shelf / "out.txt").symlink_to(top / "secret")
    (shelf / "folder").symlink_to(top)
    (shelf / "up").symlink_to("..")
    (top / "shelf2").write_text("s3cret")
    error = refusal("attachment", {"path": path.replace("{top}", str(top))}, Access(files=shelf))
    assert error.field == "attachments[0].path"


@pytest.mark.rule("FIL-03")
@pytest.mark.parametrize("swapped", ["name", "folder"])
def test_a_link_that_is_put_there_meanwhile_is_not_followed(
    shelf: Path, swapped: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the path and the opening, somebody who may write there swaps a folder for a link."""
    real = os.path.realpath

    def then_swap(path: Any, **how: Any) -> str:
        found = real(path, **how)
        if swapped == "name":
            (shelf / "inner" / "b.txt").unlink()
            (shelf / "inner" / "b.txt").symlink_to(shelf.parent / "secret")
        else:
            (shelf / "inner").rename(shelf / "was")
            (shelf.parent / "b.txt").write_text("s3cret")
            (shelf / "inner").symlink_to(shelf.parent)
        return found

    access = Access(files=shelf)
    monkeypatch.setattr(os.path, "realpath", then_swap)
    refusal("attachment", {"path": "inner/b.txt"}, access)


@pytest.mark.rule("FIL-03")
@pytest.mark.parametrize("access", [Access(), "shelf"], ids=["anywhere", "in a directory"])
@pytest.mark.parametrize("kind", ["fifo", "directory", "socket", "link to a fifo", "loop"])
def test_only_regular_files_are_opened(
    kind: str, access: Any, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shelf)
    path = shelf / "special"
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
        case "socket":
            with socket.socket(socket.AF_UNIX) as sock:
                sock.bind("special")
        case "link to a fifo":
            os.mkfifo(shelf / "pipe")
            path.symlink_to(shelf / "pipe")
        case "loop":
            path.symlink_to(path)
    refusal("attachment", {"path": path}, Access(files=shelf) if access == "shelf" else access)


@pytest.mark.rule("FIL-03")
@pytest.mark.parametrize(
    "path", ["/dev/zero", "/dev/null", "/dev/tty", "/proc/self/environ", "/proc/self/mem", "/proc/version"]
)
def test_what_is_no_file_on_a_disk_is_not_read(path: str) -> None:
    if not os.path.exists(path):
        path = "/dev/null"
    refusal("attachment", {"path": path}, Access())


@pytest.mark.rule("FIL-03")
def test_a_directory_that_is_swapped_for_another_stays_what_it_was(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shelf.parent)
    access = Access(files="shelf")
    monkeypatch.chdir(shelf / "inner")
    assert b"content of a.txt" in attached("a.txt", access)
    with pytest.raises(MessageError):
        open_file("b.txt", "f", access)


@pytest.mark.rule("FIL-08")
@EVERYWHERE
def test_nothing_over_the_bound_is_taken(place: str, shelf: Path) -> None:
    (shelf / "part").write_text("Content-Type: text/x-a\n\n" + "here\n" * 100)
    refusal(place, {"path": shelf / "part"}, Access(max_size=100))
    refusal(place, {"path": "data:," + "A" * 200}, Access(max_size=100))


@pytest.mark.rule("FIL-07")
@pytest.mark.parametrize(
    "key",
    ["tls", "access", "__class__", "__init__", "files", "disable_file_access", "httpHeaders", "resolve"],
)
def test_keys_that_are_none_change_nothing(key: str) -> None:
    for message in (
        GOOD | {key: True},
        GOOD | {"attachments": [{"content": b"", key: True}]},
        GOOD | {"html": {"content": "", key: True}},
        GOOD | {"alternatives": [{"content": "", "content_type": "text/x", key: True}]},
    ):
        with pytest.raises(MessageError, match="unknown field"):
            octets(message, Access())


@pytest.mark.rule("FIL-09")
def test_the_policy_cannot_be_changed_once_it_is_set() -> None:
    access = Access.of({"files": False})
    with pytest.raises(AttributeError):
        access.files = True
    assert Access.of(access) is access
    for bad in (
        None,
        True,
        "all",
        "",
        5,
        {"file": False},
        {"urls": 1},
        {"files": None},
        {"files": 1},
        {"files": ""},
    ):
        with pytest.raises(ConfigurationError) as caught:
            Access.of(bad)
        assert caught.value.option == "access"


@pytest.mark.parametrize(
    "bad",
    [{"max_size": 0}, {"max_size": True}, {"max_size": 1.5}, {"timeout": 0}, {"timeout": "1"}, {"timeout": float("inf")},
     {"timeout": True}, {"max_redirects": -1}, {"max_redirects": None}, {"private_addresses": "no"}, {"files": "a\0b"}, {"files": b"a"}],
)  # fmt: skip
def test_a_bound_that_is_none_is_an_error(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=f"access.{next(iter(bad))}"):
        Access.of(bad)
