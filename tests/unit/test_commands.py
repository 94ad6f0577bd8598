"""Commands are one line each, and say nothing that was not asked for."""

from __future__ import annotations

import inspect

import pytest

from mailpool.smtp import commands
from mailpool.smtp.commands import InvalidCommand

CONTROLS = [*map(chr, range(0x20)), "\x7f"]
# Cut down to one octet these are CR, LF, CR and LF: a classic way around checks of text.
LOW_BYTES = ["\u760d", "\u760a", "\u560d", "\u560a", "\u010d", "\u010a"]


class TestWords:
    @pytest.mark.parametrize(
        ("sender", "parameters", "line"),
        [
            ("a@example.org", "", b"MAIL FROM:<a@example.org>\r\n"),
            ("", "", b"MAIL FROM:<>\r\n"),
            (
                "a@example.org",
                " SIZE=10 BODY=8BITMIME",
                b"MAIL FROM:<a@example.org> SIZE=10 BODY=8BITMIME\r\n",
            ),
            ("ä@exämple.org", " SMTPUTF8", "MAIL FROM:<ä@exämple.org> SMTPUTF8\r\n".encode()),
            ('"a b"@example.org', "", b'MAIL FROM:<"a b"@example.org>\r\n'),
            (r'"a\"b\\c"@example.org', "", rb'MAIL FROM:<"a\"b\\c"@example.org>' + b"\r\n"),
            ("a@[192.0.2.1]", "", b"MAIL FROM:<a@[192.0.2.1]>\r\n"),
            ("a@[IPv6:2001:db8::1]", "", b"MAIL FROM:<a@[IPv6:2001:db8::1]>\r\n"),
        ],
    )
    def test_mail(self, sender: str, parameters: str, line: bytes) -> None:
        assert commands.mail(sender, parameters) == line

    @pytest.mark.parametrize(
        ("recipient", "parameters", "line"),
        [
            ("b@example.org", "", b"RCPT TO:<b@example.org>\r\n"),
            ("Postmaster", "", b"RCPT TO:<Postmaster>\r\n"),
            (
                "b@example.org",
                " NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;b+40example.org",
                b"RCPT TO:<b@example.org> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;b+40example.org\r\n",
            ),
        ],
    )
    def test_rcpt(self, recipient: str, parameters: str, line: bytes) -> None:
        assert commands.rcpt(recipient, parameters) == line

    def test_a_recipient_is_never_null(self) -> None:
        with pytest.raises(InvalidCommand):
            commands.rcpt("")

    @pytest.mark.parametrize(
        "name", ["mail.example", "[192.0.2.1]", "[IPv6:2001:db8::1]", "a_b.example", "x", "a" * 255]
    )
    def test_hello(self, name: str) -> None:
        assert commands.hello("EHLO", name) == f"EHLO {name}\r\n".encode()
        assert commands.hello("HELO", name) == f"HELO {name}\r\n".encode()

    @pytest.mark.parametrize(
        ("mechanism", "response", "line"),
        [
            ("PLAIN", b"AGEAYg==", b"AUTH PLAIN AGEAYg==\r\n"),
            ("LOGIN", None, b"AUTH LOGIN\r\n"),
            ("PLAIN", b"", b"AUTH PLAIN =\r\n"),
            ("DIGEST-MD5", None, b"AUTH DIGEST-MD5\r\n"),
            ("X_OWN", None, b"AUTH X_OWN\r\n"),
        ],
    )
    def test_auth(self, mechanism: str, response: bytes | None, line: bytes) -> None:
        assert commands.auth(mechanism, response) == line

    @pytest.mark.rule("INJ-14")
    def test_the_others_take_no_argument_at_all(self) -> None:
        """RSET and NOOP are constants, VRFY and EXPN are never sent: nothing can be put into them."""
        fixed = {commands.DATA, commands.RSET, commands.QUIT, commands.NOOP, commands.STARTTLS}
        assert fixed == {b"DATA\r\n", b"RSET\r\n", b"QUIT\r\n", b"NOOP\r\n", b"STARTTLS\r\n"}
        functions = {name for name, _ in inspect.getmembers(commands, inspect.isfunction) if name[0] != "_"}
        assert functions <= {"mail", "rcpt", "hello", "auth", "bdat"}  # BDAT takes a number


class TestPaths:
    @pytest.mark.rule("INJ-03")
    @pytest.mark.parametrize("char", [*CONTROLS, "\r\n"])
    @pytest.mark.parametrize(
        "shape",
        [
            "{}a@example.org",
            "a{}@example.org",
            "a@example{}.org",
            "a@example.org{}",
            '"a{}"@example.org',
            '"a\\{}"@example.org',
        ],
    )
    def test_controls(self, char: str, shape: str) -> None:
        address = shape.replace("{}", char)
        for command in (commands.mail, commands.rcpt):
            with pytest.raises(InvalidCommand):
                command(address)

    @pytest.mark.rule("INJ-04")
    @pytest.mark.parametrize(
        "address",
        [
            "<a@example.org>",
            "a@example.org>",
            "a@example.org> SIZE=1",
            "a@example.org SIZE=1",
            "a@example.org>\tSIZE=1",
            "a<b@example.org",
            "a>b@example.org",
            "a b@example.org",
            " a@example.org",
            "a@example.org ",
            "a@exam ple.org",
            '"a"b@example.org',
            'b"a"@example.org',
            '"a@example.org',
            'a"@example.org',
            '"a\\"@example.org',
            '"a"@example.org> ORCPT=x',
            '"a" SIZE=1@example.org',
            '"a"@exa"mple.org',
            '"a"@b@example.org',
            '"a""b"@example.org',
        ],
    )
    def test_nothing_ends_a_path_early(self, address: str) -> None:
        for command in (commands.mail, commands.rcpt):
            with pytest.raises(InvalidCommand):
                command(address)

    @pytest.mark.rule("INJ-04")
    @pytest.mark.parametrize("address", ['"a> ORCPT=x"@h', '"> SIZE=1"@h', '"<a@b>"@h', '"a\\" b"@h'])
    def test_a_strict_server_reads_the_quoted_path_as_one(self, address: str) -> None:
        path, parameters = strict_path(commands.rcpt(address).decode())
        assert (path, parameters) == (address, "")

    @pytest.mark.rule("INJ-15")
    @pytest.mark.parametrize("char", LOW_BYTES)
    def test_no_character_is_cut_to_a_byte(self, char: str) -> None:
        line = commands.rcpt(f"a{char}b@example.org")
        assert line == f"RCPT TO:<a{char}b@example.org>\r\n".encode()
        assert line.count(b"\r") == line.count(b"\n") == 1
        for build in (
            lambda: commands.hello("EHLO", f"a{char}b"),
            lambda: commands.mail("a@example.org", f" X=a{char}b"),
            lambda: commands.auth(f"A{char}B", None),
        ):
            with pytest.raises(InvalidCommand):
                build()

    @pytest.mark.rule("INJ-15")
    @pytest.mark.parametrize("char", list(map(chr, (0xD800, 0xDFFF, 0xDC0D))))
    def test_what_has_no_utf_8(self, char: str) -> None:
        for command in (commands.mail, commands.rcpt):
            with pytest.raises(InvalidCommand):
                command(f"a{char}@example.org")


class TestParameters:
    @pytest.mark.rule("INJ-10")
    @pytest.mark.parametrize(
        "parameters",
        [
            " SIZE=1\r\nRCPT TO:<x@y>",
            " SIZE=1\n",
            " SIZE=1\r",
            " SIZE=1\x00",
            " SIZE=1\tBODY=7BIT",
            " SIZE=1  BODY=7BIT",
            " SIZE=1 ",
            " ",
            "SIZE=1",
            "\tSIZE=1",
            " SIZE=",
            " =1",
            " -X=1",
            " SIZE=1=2",
            " SI_ZE=1",
            " SIZE=ä",
            " GRÖSSE=1",
            " SIZE=\x7f",
            " X=\u2028",
            " X=\u760a",
        ],
    )
    def test_smuggled(self, parameters: str) -> None:
        for command in (commands.mail, commands.rcpt):
            with pytest.raises(InvalidCommand):
                command("a@example.org", parameters)


class TestNames:
    @pytest.mark.rule("INJ-01")
    @pytest.mark.rule("INJ-20")
    @pytest.mark.rule("INJ-02")
    @pytest.mark.parametrize(
        "name",
        [
            "",
            "a b",
            "a\tb",
            "a\x7f",
            "ä.example",
            "a" * 256,
            "a\r\nMAIL FROM:<x>",
            "a\r",
            "a\n",
            "a\x00",
            ".a",
            "-a",
            "[1.2.3.4",
            "1.2.3.4]",
            "[a b]",
            "[]",
            "[1.2.3.4]\r\n",
            "[fe80::1%eth0]",
            "\u0661",
        ],
    )
    def test_no_name(self, name: str) -> None:
        with pytest.raises(InvalidCommand):
            commands.hello("EHLO", name)
        with pytest.raises(InvalidCommand):
            commands.hello("LHLO", name)

    @pytest.mark.rule("INJ-13")
    @pytest.mark.parametrize("mechanism", ["", "A B", "A\r\nB", "A\n", "A=B", "Ä", "=", "-A", "A\x00"])
    def test_no_mechanism(self, mechanism: str) -> None:
        with pytest.raises(InvalidCommand):
            commands.auth(mechanism, None)

    @pytest.mark.rule("INJ-13")
    @pytest.mark.parametrize("response", [b"YQ==\r\nQUIT", b"YQ==\n", b"YQ==\r", b"YQ== x", b"Y\x00"])
    def test_no_response(self, response: bytes) -> None:
        with pytest.raises(InvalidCommand):
            commands.auth("PLAIN", response)


def strict_path(line: str) -> tuple[str, str]:
    """The path and the parameters as a strict server reads them: by character, quoted strings first (RFC 5321 §4.1.2)."""
    start = line.index("<") + 1
    quoted = False
    position = start
    while quoted or line[position] != ">":
        if quoted and line[position] == "\\":
            position += 1
        elif line[position] == '"':
            quoted = not quoted
        position += 1
    return line[start:position], line[position + 1 :].removesuffix("\r\n")
