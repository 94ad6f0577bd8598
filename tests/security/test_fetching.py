"""URLs in messages: over real sockets, what may be read, from where, how much, and who hears the credentials."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import gzip
import http.server
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mailpool.errors import MessageError
from mailpool.message.sources import LARGE, Found
from mailpool.net import fetch as module
from mailpool.net.fetch import fetch, is_public
from mailpool.options.access import Access
from mailpool.testing import Authority

OPEN = Access(urls=True, private_addresses=True, timeout=250)
FIELD = "attachments[0].href"
Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


class Site:
    """A web server on this machine. ``answers`` by path; ``heard`` are the paths and header fields of its requests."""

    def __init__(self, context: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.heard: list[tuple[str, dict[str, str]]] = []
        self.answers: dict[str, Answer] = {}
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                site.heard.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
                with contextlib.suppress(OSError):
                    site.answers.get(self.path.partition("?")[0], text("fine"))(self)

            def log_message(self, *_: Any) -> None: ...

        self.server = http.server.ThreadingHTTPServer((host, 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None
        if context is not None:
            self.server.socket = context.wrap_socket(
                self.server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = self.server.server_address[1]
        self.url = (
            f"http{'s' if context else ''}://localhost:{self.port}"
            if context
            else f"http://127.0.0.1:{self.port}"
        )

    def __enter__(self) -> Site:
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def reply(body: bytes, status: int = 200, **headers: str) -> Answer:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def text(body: str, **headers: str) -> Answer:
    return reply(body.encode(), Content_Type="text/plain; charset=utf-8", **headers)


def to(url: str, status: int = 302) -> Answer:
    return reply(b"", status, Location=url)


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as site:
        yield site


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def secure(authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.write_ca(tmp_path / "ca.pem")))
    with Site(authority.server_context("localhost")) as site:
        yield site


async def octets(url: str, access: Access = OPEN, headers: dict[str, str] | None = None) -> bytes:
    content = (await fetch(url, headers, FIELD, access)).content
    return content if isinstance(content, bytes) else b"".join(content.blocks())


async def refusal(url: str, access: Access = OPEN, headers: dict[str, str] | None = None) -> str:
    with pytest.raises(MessageError) as caught:
        await fetch(url, headers, FIELD, access)
    assert caught.value.field in (FIELD, "attachments[0].http_headers")
    return str(caught.value)


# -- what works ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, LARGE, LARGE + 1, 3_000_000])
async def test_content_comes_with_its_type_and_name(site: Site, size: int) -> None:
    body = bytes(range(256)) * (size // 256) + bytes(size % 256)
    site.answers["/a/b%20c.png"] = reply(body, Content_Type="image/png")
    found = await fetch(f"{site.url}/a/b%20c.png?x=1#part", {"X-A": "b"}, FIELD, OPEN)
    assert isinstance(found, Found)
    assert (found.content_type, found.name) == ("image/png", "b c.png")
    assert await octets(f"{site.url}/a/b%20c.png") == body
    path, headers = site.heard[0]
    assert path == "/a/b%20c.png?x=1"
    assert (headers["x-a"], headers["accept-encoding"], headers["user-agent"]) == (
        "b",
        "identity",
        "mailpool",
    )


async def test_https_with_a_certificate_that_is_trusted(secure: Site) -> None:
    assert await octets(f"{secure.url}/") == b"fine"


@pytest.mark.rule("TLS-06")
async def test_https_without_one_is_refused(secure: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "CERTIFICATE_VERIFY_FAILED" in await refusal(f"https://127.0.0.1:{secure.port}/")
    monkeypatch.delenv("SSL_CERT_FILE")
    assert "CERTIFICATE_VERIFY_FAILED" in await refusal(f"{secure.url}/")
    assert secure.heard == []


async def test_redirects_are_followed_up_to_their_bound(site: Site) -> None:
    for number in range(6):
        site.answers[f"/{number}"] = to(f"/{number + 1}", (301, 302, 303, 307, 308)[number % 5])
    assert await octets(f"{site.url}/1") == b"fine"
    assert "more than 5 times" in await refusal(f"{site.url}/0")
    assert "more than 0 times" in await refusal(
        f"{site.url}/5", Access(urls=True, private_addresses=True, max_redirects=0)
    )


@pytest.mark.parametrize("status", [199, 304, 400, 401, 404, 500])
async def test_an_answer_that_is_none_is_an_error(site: Site, status: int) -> None:
    if status == 199:
        site.answers["/"] = to("", 302)
        assert "redirected" in await refusal(f"{site.url}/")
        return
    site.answers["/"] = reply(b"no", status)
    assert f"answered {status}" in await refusal(f"{site.url}/")


async def test_a_server_that_is_not_there_is_an_error() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        assert FIELD in await refusal(f"http://127.0.0.1:{held.getsockname()[1]}/")
    assert "could not be resolved" in await refusal("http://nobody.invalid/")


# -- FIL-02, FIL-03, FIL-04 ------------------------------------------------------------------------------------------


@pytest.mark.rule("FIL-02")
async def test_nothing_is_asked_where_urls_are_not_allowed(site: Site) -> None:
    assert "not allowed" in await refusal(f"{site.url}/", Access(private_addresses=True))
    assert site.heard == []


@pytest.mark.rule("FIL-03")
@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "FILE:/etc/passwd", "ftp://x/", "gopher://x/", "http:", "http://", "//x/", "http:///x",
     "http://x:0/", "http://x:99999/", "http://[::1/", "http://a b/", "http://a\r\nHost: b/", "http://a\\@b/", "\0", ""],
)  # fmt: skip
async def test_only_urls_of_the_web_are_read(url: str) -> None:
    assert "URL" in await refusal(url)


@pytest.mark.rule("FIL-04")
@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://localhost/x", "data:,x", "http://a b/"])
async def test_a_redirect_to_something_else_is_refused(site: Site, target: str) -> None:
    site.answers["/"] = to(target)
    assert "URL" in await refusal(f"{site.url}/")


@pytest.mark.rule("FIL-04")
async def test_a_redirect_from_https_to_http_is_refused(secure: Site, site: Site) -> None:
    secure.answers["/"] = to(f"{site.url}/")
    assert "from https: to http:" in await refusal(f"{secure.url}/")
    assert site.heard == []
    site.answers["/"] = to(f"{secure.url}/other")
    assert await octets(f"{site.url}/") == b"fine"


SECRETS = {"Authorization": "Bearer s3cret", "Cookie": "id=s3cret", "X-Api-Key": "s3cret"}


@pytest.mark.rule("FIL-04")
@pytest.mark.rule("LOG-03")
@pytest.mark.parametrize("back", [False, True])
async def test_credentials_do_not_follow_to_another_origin(site: Site, back: bool) -> None:
    with Site() as other:
        site.answers["/"] = to("/same")
        site.answers["/same"] = to(f"{other.url}/there")
        if back:
            other.answers["/there"] = to(f"{site.url}/end")
        assert await octets(f"{site.url}/", headers=SECRETS) == b"fine"
        kept = [[name for name in SECRETS if name.lower() in headers] for _, headers in site.heard]
        assert kept == [list(SECRETS), list(SECRETS), *([[]] if back else [])]
        assert [name for _, headers in other.heard for name in SECRETS if name.lower() in headers] == []


@pytest.mark.rule("LOG-03")
async def test_a_login_in_the_url_goes_to_its_host_only(site: Site) -> None:
    with Site() as other:
        site.answers["/"] = to(other.url.replace("//", "//evil:evil@") + "/")
        await octets(site.url.replace("//", "//me:s3cret@") + "/")
        assert site.heard[0][1]["authorization"] == "Basic bWU6czNjcmV0"
        assert "authorization" not in other.heard[0][1]


@pytest.mark.rule("LOG-03")
async def test_no_error_tells_a_secret(site: Site, secure: Site) -> None:
    site.answers["/x"] = reply(b"", 500)
    site.answers["/loop"] = to("/loop?s3cret")
    login = site.url.replace("//", "//me:s3cret@")
    told = [
        await refusal(f"{login}/x?token=s3cret#s3cret"),
        await refusal(f"{login}/loop?token=s3cret"),
        await refusal("http://me:s3cret@nobody.invalid/?s3cret"),
        await refusal("http://me:s3cret@[::1/?s3cret"),
        await refusal("ftp://me:s3cret@x/?s3cret"),
        await refusal(f"{login}/", Access(urls=True)),
        await refusal(f"{site.url}/", headers={"X-A": "s3cret\r\nEvil: 1"}),
        await refusal(f"{site.url}/", headers={"X A": "s3cret"}),
        await refusal(f"https://me:s3cret@127.0.0.1:{secure.port}/?s3cret"),
    ]
    assert [text for text in told if "s3cret" in text] == []


@pytest.mark.parametrize("name", ["Host", "Content-Length", "Transfer-Encoding", "X:A", "", "X\n", "é", 5])
async def test_some_header_fields_cannot_be_given(site: Site, name: Any) -> None:
    assert "http_headers" in await refusal(f"{site.url}/", headers={name: "x"})
    assert site.heard == []


# -- FIL-05 ----------------------------------------------------------------------------------------------------------

SAFE = Access(urls=True, timeout=250)


@pytest.mark.rule("FIL-05")
@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0", "0.0.0.0", "localhost", "localhost.",
     "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[2002:7f00:1::]", "[64:ff9b::7f00:1]"],
)  # fmt: skip
async def test_no_way_leads_to_this_machine(site: Site, host: str) -> None:
    told = await refusal(f"http://{host}:{site.port}/", SAFE)
    assert "private network" in told or "could not be resolved" in told
    assert site.heard == []


@pytest.mark.rule("FIL-05")
@pytest.mark.parametrize(
    "address",
    ["10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "240.0.0.1",
     "255.255.255.255", "192.0.2.1", "fe80::1", "fe80::1%1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1",
     "::ffff:10.0.0.1", "2002:a00:1::", "2001:0:a00:1::", "64:ff9b::a00:1", "64:ff9b:1::1"],
)  # fmt: skip
def test_addresses_that_are_nobody_elses_business(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::"]
)
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.rule("FIL-05")
async def test_a_redirect_is_checked_as_well(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "is_public", lambda address: address != "127.0.0.2")
    site.answers["/"] = to(f"http://127.0.0.2:{site.port}/")
    assert "private network" in await refusal(f"{site.url}/", SAFE)
    assert len(site.heard) == 1


@pytest.mark.rule("FIL-05")
async def test_the_checked_address_is_the_one_connected_to(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that leads elsewhere at the second look-up has no second look-up (DNS rebinding)."""
    looked_up: list[str] = []

    async def resolve(host: str, port: int) -> Any:
        looked_up.append(host)
        return [(socket.AF_INET, ("127.0.0.1" if len(looked_up) == 1 else "127.0.0.2", port))]

    monkeypatch.setattr(module, "resolve", resolve)
    assert await octets(f"http://rebinding.example:{site.port}/") == b"fine"
    assert looked_up == ["rebinding.example"]
    assert site.heard[0][1]["host"] == f"rebinding.example:{site.port}"


@pytest.mark.rule("FIL-05")
async def test_one_private_address_among_others_is_enough(
    monkeypatch: pytest.MonkeyPatch, site: Site
) -> None:
    async def resolve(host: str, port: int) -> Any:
        return [(socket.AF_INET, ("8.8.8.8", port)), (socket.AF_INET, ("127.0.0.1", port))]

    monkeypatch.setattr(module, "resolve", resolve)
    assert "private network" in await refusal(f"http://both.example:{site.port}/", SAFE)
    assert site.heard == []


# -- FIL-06 ----------------------------------------------------------------------------------------------------------


@pytest.mark.rule("FIL-06")
async def test_a_bomb_is_not_unpacked(site: Site) -> None:
    site.answers["/"] = reply(gzip.compress(bytes(10_000_000)), Content_Encoding="gzip")
    assert "compressed" in await refusal(f"{site.url}/")


def endless(pause: float) -> Answer:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.close_connection = True
        while True:
            handler.wfile.write(b"x" * 1000)
            handler.wfile.flush()
            time.sleep(pause)

    return answer


@pytest.mark.rule("FIL-06")
async def test_too_much_is_an_error(site: Site) -> None:
    small = Access(urls=True, private_addresses=True, max_size=10_000)
    site.answers["/said"] = reply(bytes(10_001))
    site.answers["/endless"] = endless(0)
    site.answers["/fits"] = reply(bytes(10_000))
    assert "max_size" in await refusal(f"{site.url}/said", small)
    assert "max_size" in await refusal(f"{site.url}/endless", small)
    assert len(await octets(f"{site.url}/fits", small)) == 10_000
    assert Access(urls=True).most_fetched == 50 * 1024 * 1024


@pytest.mark.rule("FIL-06")
async def test_too_slow_is_an_error(site: Site) -> None:
    site.answers["/"] = endless(0.05)
    assert "access.timeout" in await refusal(
        f"{site.url}/", Access(urls=True, private_addresses=True, timeout=1)
    )


async def test_half_an_answer_is_an_error(site: Site) -> None:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        reply(b"half", Content_Length="8")(handler)
        handler.close_connection = True

    site.answers["/"] = answer
    assert FIELD in await refusal(f"{site.url}/")


# -- once wrong, now proven ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "location", ["http://[::1", "http://\xe9..\xe9/", "http://a\x9b/", "http://a:99999/"]
)
async def test_a_redirect_to_nowhere_names_the_field(site: Site, location: str) -> None:
    site.answers["/a"] = to(location)
    assert "could not be resolved" not in await refusal(f"{site.url}/a")


@pytest.mark.rule("LOG-02")
@pytest.mark.parametrize("path", ["\x9b31m", "\u2028", "\ud800"])
async def test_an_error_shows_nothing_of_a_url_that_no_log_should_hold(site: Site, path: str) -> None:
    assert (await refusal(f"{site.url}/{path}")).isprintable()
    assert (await refusal(f"http://{path}.example/")).isprintable()
    assert site.heard == []


async def test_a_redirect_that_is_written_in_utf8_leads_there(site: Site) -> None:
    site.answers["/a"] = lambda handler: (
        handler.wfile.write("HTTP/1.1 302 x\r\nContent-Length: 0\r\nLocation: /büro\r\n\r\n".encode()),
        None,
    )[1]
    await octets(f"{site.url}/a")
    assert [path for path, _ in site.heard] == ["/a", "/b%C3%BCro"]


@pytest.mark.parametrize("how", ["timeout", "cancelled"])
async def test_no_socket_is_left_of_a_handshake_that_never_ends(how: str, pass_time: Any) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begun.set()
        while await reader.read(1_000):
            pass
        ended.set()
        writer.close()

    gc.disable()  # it would close what was forgotten
    try:
        async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            access = Access(urls=True, private_addresses=True, timeout=1_000)
            task = asyncio.create_task(fetch(f"https://127.0.0.1:{port}/", None, FIELD, access))
            await begun.wait()
            if how == "cancelled":
                task.cancel()
            else:
                pass_time(1_000)
            await asyncio.wait([task])
            assert task.cancelled() == (how == "cancelled")
            await asyncio.wait_for(ended.wait(), 200)
            assert task.cancelled() or isinstance(task.exception(), MessageError)
    finally:
        gc.enable()
