"""Each guard against hostile input, and how it is taken away: text of the source, and what stands there without it."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple


class Edit(NamedTuple):
    """``old``, which is in ``file`` once, becomes ``new``."""

    file: str
    old: str
    new: str


class Removal(NamedTuple):
    """One guard of one check. It may stand in several places: then all of them have to go."""

    check: str
    guard: str
    edits: tuple[Edit, ...]

    def apply(self, package: Path) -> None:
        """Take the guard away from the package in this folder; ``ValueError`` when it is not there any more."""
        for edit in self.edits:
            path = package / edit.file
            text = path.read_text("utf-8")
            if text.count(edit.old) != 1:
                raise ValueError(
                    f"{self.check}: {edit.file} holds {edit.old!r} {text.count(edit.old)} times, not once"
                )
            path.write_text(text.replace(edit.old, edit.new), "utf-8")


REMOVALS: Final[list[Removal]] = []


def removal(check: str, guard: str, *edits: tuple[str, str, str]) -> None:
    REMOVALS.append(Removal(check, guard, tuple(Edit(*edit) for edit in edits)))


# -- commands --------------------------------------------------------------------------------------------------------

COMMANDS = "smtp/commands.py"
CHECKS, CREDENTIALS = "options/checks.py", "options/credentials.py"
removal(
    "INJ-01",
    "EHLO names only what a domain may be",
    (COMMANDS, "if _DOMAIN.fullmatch(name) is None:", "if False:"),
)
removal(
    "INJ-20",
    "LHLO names only what a domain may be",
    (COMMANDS, "if _DOMAIN.fullmatch(name) is None:", "if False:"),
)
removal(
    "INJ-02",
    "the option name is a host name",
    (CHECKS, "    return host_name(name, given)\n", "    return given\n"),
)
removal(
    "INJ-02",
    "a name that is not ASCII is refused",
    (
        CHECKS,
        '    if not given.isascii():\n        raise wrong(name, f"{value!r} is not ASCII',
        '    if False:\n        raise wrong(name, f"{value!r} is not ASCII',
    ),
)
removal(
    "INJ-03",
    "control characters in an address",
    ("address/mailbox.py", "    if search_control(address):", "    if False:"),
)
removal(
    "INJ-03",
    "control characters in a path, at the last place",
    (
        COMMANDS,
        r'"(?:[^\x00-\x1f\x7f"\\]|\\[^\x00-\x1f\x7f])*" | [^\x00-\x20\x7f<>"]+',
        r'"(?:[^"\\]|\\.)*" | [^<>"]+',
    ),
)
removal(
    "INJ-04",
    "< and > in a quoted local part",
    ("address/mailbox.py", 'if not content or "<" in content or ">" in content:', "if not content:"),
)
removal(
    "INJ-04",
    "< and > in a path, at the last place",
    (COMMANDS, r'[^\x00-\x20\x7f<>"]+ )', r'[^\x00-\x20\x7f"]+ )'),
)
removal(
    "INJ-05",
    "the address of an object is checked as any other",
    (COMMANDS, "    if _PATH.fullmatch(recipient) is None:", "    if False:"),
)
removal(
    "INJ-06",
    "line ends in a quoted local part",
    ("address/mailbox.py", "    if search_control(address):", "    if False:"),
)
removal(
    "INJ-07",
    "the size in an envelope is a number",
    (
        "message/envelopes.py",
        "if isinstance(size, bool) or not isinstance(size, int) or size < 0:",
        "if False:",
    ),
)
ASKING = "message/asking.py"
removal(
    "INJ-08",
    "what could end a parameter is encoded",
    (
        "smtp/requests.py",
        "char if char in _plain_in_xtext else",
        "char if char.isprintable() else",
    ),
)
removal(
    "INJ-08",
    "control characters in an original address",
    (ASKING, "or not given or _search_control(given):", "or not given:"),
)
removal(
    "INJ-08",
    "an envelope identifier is printable ASCII",
    (ASKING, "or not _is_printable(given)", ""),
)
removal(
    "INJ-08",
    "only the type utf-8 has other characters than ASCII",
    (ASKING, 'if not address or not (kind == "utf-8" or address.isascii()):', "if not address:"),
)
removal(
    "INJ-09",
    "never stands alone, and nothing else is known",
    (ASKING, "if not known or not known <= set(_NOTIFY):", "if not known:"),
)
removal(
    "INJ-09",
    "what can be returned",
    (
        ASKING,
        '    if found is None:\n        raise MessageError(f"dsn.return',
        '    if False:\n        raise MessageError(f"dsn.return',
    ),
)
removal(
    "INJ-09",
    "letter case of what is returned",
    (ASKING, "_RETURN.get(given.lower())", "_RETURN.get(given)"),
)
removal(
    "INJ-10",
    "numbers in parameters",
    (
        ASKING,
        "if isinstance(given, bool) or not isinstance(given, int) or not least <= given <= most:",
        "if False:",
    ),
)
removal(
    "INJ-10",
    "parameters of MAIL and RCPT",
    (COMMANDS, "if _PARAMETERS.fullmatch(parameters) is None:", "if False:"),
)
removal(
    "INJ-11",
    "NUL in a user name or password",
    (CREDENTIALS, 'if "\\0" in value or "\\x01" in value:', 'if "\\x01" in value:'),
)
removal(
    "INJ-12",
    "\\x01 in a user name or token",
    (CREDENTIALS, 'if "\\0" in value or "\\x01" in value:', 'if "\\0" in value:'),
    (CREDENTIALS, 'if what == "access token" and CONTROL.search(value):', "if False:"),
)
removal(
    "INJ-12",
    "a token that was asked for holds visible ASCII only",
    ("auth/oauth2.py", r'if not re.fullmatch(r"[\x21-\x7e]+", token):', "if False:"),
)
removal(
    "INJ-13",
    "the name of a mechanism",
    (COMMANDS, "if _MECHANISM.fullmatch(mechanism) is None:", "if False:"),
)
removal(
    "INJ-13",
    "an initial response is base64",
    (COMMANDS, "if _BASE64.fullmatch(initial_response) is None:", "if False:"),
)
removal(
    "INJ-14",
    "RSET takes no argument",
    (
        COMMANDS,
        "def _encoded(",
        'def rset(argument: str) -> bytes:\n    return f"RSET {argument}\\r\\n".encode()\n\n\ndef _encoded(',
    ),
)
removal(
    "INJ-15",
    "a line is UTF-8, never cut to low bytes",
    (COMMANDS, "        return line.encode()\n", "        return bytes(ord(char) & 0xFF for char in line)\n"),
)
removal(
    "INJ-16",
    "an address that is not ASCII needs SMTPUTF8",
    ("smtp/transaction.py", "        if not capabilities.smtputf8:", "        if False:"),
)
removal(
    "INJ-18",
    "control characters in a URL, in any disguise",
    ("options/url.py", '    if re.search(r"[\\x00-\\x1f\\x7f-\\x9f]", decoded):', "    if False:"),
)
removal("INJ-18", "a key twice in a URL", ("options/url.py", "        if key in seen:", "        if False:"))

# -- header fields ---------------------------------------------------------------------------------------------------

FOLDING = "message/folding.py"
HEADERS = "message/custom_headers.py"
removal(
    "HDR-01",
    "line breaks in text",
    (
        FOLDING,
        "    bad = _search_line_break(value)\n    if bad:",
        "    bad = _search_line_break(value)\n    if False:",
    ),
)
removal(
    "HDR-01",
    "control characters in names of people",
    ("address/mailbox.py", "    if search_control_but_tab(name):", "    if False:"),
)
removal("HDR-01", "Message-IDs", ("message/message_ids.py", "    if not _is_bare_id(bare):", "    if False:"))
removal(
    "HDR-02", "the name of a header field", (FOLDING, "    if not _is_field_name(stripped):", "    if False:")
)
removal(
    "HDR-03",
    "line breaks in a custom value",
    (FOLDING, "    refuse_line_breaks(value, field)\n    if not value.strip", "    if not value.strip"),
)
removal(
    "HDR-03",
    "a line of a prepared value begins with white space",
    (HEADERS, '        if line[0] not in " \\t":', "        if False:"),
)
removal(
    "HDR-03",
    "a prepared value is printable ASCII",
    (HEADERS, "        if not _is_plain(line):", "        if False:"),
)
removal(
    "HDR-04",
    "what would end a URL of a list is encoded",
    (
        "message/list_headers.py",
        'text.encode().decode("latin-1").translate(_PERCENT)',
        'text.encode().decode("latin-1")',
    ),
)
removal(
    "HDR-04",
    "parentheses and backslashes in a comment",
    ("message/list_headers.py", "        pieces = [_escaped(piece) for piece in pieces]\n", "        pass\n"),
)
removal(
    "HDR-05",
    "quotes and backslashes in a parameter",
    ("message/parameters.py", """text.replace("\\\\", "\\\\\\\\").replace('"', '\\\\"')""", "text"),
)
removal(
    "HDR-05",
    "line breaks in a parameter",
    ("message/parameters.py", "        refuse_line_breaks(text, field)\n", ""),
)
removal(
    "HDR-06",
    "the name of a parameter is a token",
    ("message/parameters.py", "        if found is None:", "        if False:"),
)
removal(
    "HDR-07",
    "lone surrogates",
    (
        "address/syntax.py",
        'return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")',
        "return text",
    ),
)
removal(
    "HDR-08",
    "only the case of names may be changed",
    (
        HEADERS,
        "if not isinstance(spelt, str) or not spelt.isascii() or spelt.lower() != name.lower():",
        "if not isinstance(spelt, str):",
    ),
)
removal(
    "HDR-09",
    "the selector of a DKIM key",
    (
        "options/dkim_key.py",
        '    if len(selector) > 190 or not all(map(_LABEL.fullmatch, selector.split("."))):',
        "    if False:",
    ),
)
removal(
    "HDR-09",
    "the names of signed fields",
    (
        "options/dkim_key.py",
        "        if not isinstance(item, str) or not _HEADER_NAME.fullmatch(item):",
        "        if False:",
    ),
)
removal(
    "HDR-10",
    "names with special characters are quoted",
    ("address/phrase.py", "[name if _is_atoms(name) else quote(name), path]", "[name, path]"),
)
removal(
    "HDR-10",
    "names that look like encoded words are encoded",
    ("address/phrase.py", ' and "=?" not in name', ""),
)
removal(
    "HDR-11", "lines are folded", (FOLDING, "        if length > LINE and not first:", "        if False:")
)
removal(
    "HDR-11",
    "a word that fits on no line is encoded",
    (FOLDING, 'return max(map(len, _words(" " + value))) <= LONGEST_LINE - len(name) - 1', "return True"),
)
removal(
    "HDR-11", "folds at single spaces only", (FOLDING, r"[^ \t]+(?:(?: [ \t]+|\t[ \t]*)[^ \t]+)*", r"[^ \t]+")
)
removal(
    "HDR-12",
    "a value of white space makes no header",
    (FOLDING, '    if not value.strip(" \\t"):\n        return ""', '    if False:\n        return ""'),
)
removal("HDR-13", "a header that is a field is the field", (HEADERS, '    "subject": "subject",\n', ""))
removal(
    "HDR-13",
    "Content-Type and its like are the composer's",
    (HEADERS, "        elif lower not in _NEVER:", "        else:"),
)
removal(
    "HDR-14",
    "Bcc in any case is for the envelope",
    (HEADERS, "        target = _FIELD_OF.get(lower)", "        target = _FIELD_OF.get(name)"),
)
removal(
    "HDR-15",
    "a boundary is in no part",
    (
        "message/writing.py",
        "    while any(_holds(body, stem.encode()) for body in bare):",
        "    while False:",
    ),
)

# -- addresses -------------------------------------------------------------------------------------------------------

GRAMMAR, MAILBOX, DOMAIN = "address/grammar.py", "address/mailbox.py", "address/domain.py"
removal(
    "ADR-01",
    "the domain is what follows the last @",
    (MAILBOX, 'address.rpartition("@")\n    if not at:', 'address.partition("@")\n    if not at:'),
)
removal(
    "ADR-01",
    "a quoted string is a local part only as a whole",
    (
        GRAMMAR,
        """            case [("quoted", local), ("special", "@"), ("atom" | "literal", domain)]:""",
        """            case [("quoted", local), *_, ("special", "@"), ("atom" | "literal", domain)]:""",
    ),
)
removal(
    "ADR-02",
    "a comment never glues",
    (
        GRAMMAR,
        '        at_signs = sum(word == ("special", "@") for word in words)\n',
        '        return "".join(value for _, value in words)\n        at_signs = 0\n',
    ),
)
removal(
    "ADR-02",
    "the lenient grammar parts addresses at white space only",
    ("address/lenient.py", " and (spaced or index == 0)", ""),
)
removal("ADR-03", "a dot at the end of a domain", (DOMAIN, '    if a_labels.endswith("."):', "    if False:"))
removal(
    "ADR-04",
    "groups inside groups",
    (
        GRAMMAR,
        '                if in_group:\n                    raise self._refusal("has a group inside',
        '                if False:\n                    raise self._refusal("has a group inside',
    ),
)
removal(
    "ADR-04",
    "a group without an end",
    (GRAMMAR, "    if in_group:\n        raise AddressError", "    if False:\n        raise AddressError"),
)
removal(
    "ADR-05",
    "text after an address",
    (
        GRAMMAR,
        '        raise self._refusal(\n            "has text after an address;',
        '        return self._position, in_group\n        raise self._refusal(\n            "has text after an address;',
    ),
)
removal(
    "ADR-05",
    "the lenient grammar refuses one address before another",
    ("address/lenient.py", "                len(named) != 1\n", "                False\n"),
    (
        "address/lenient.py",
        '                or Mailbox("", named[0])',
        '                and Mailbox("", named[0])',
    ),
)
removal(
    "ADR-06",
    "words without an @",
    (
        GRAMMAR,
        "                if self._words:\n                    found",
        '                if ("special", "@") in self._words:\n                    found',
    ),
)
removal(
    "ADR-06",
    "the lenient grammar loses no word without an @",
    ("address/lenient.py", "        if self._unfinished or always:", "        if False:"),
)
removal(
    "ADR-07",
    "UTS #46, which maps before it encodes",
    (DOMAIN, "idna.encode(domain, uts46=True)", "idna.encode(domain)"),
)
removal(
    "ADR-07",
    "labels that begin with xn-- are checked",
    ("address/syntax.py", r'_LABEL = r"(?![xX][nN]--)', '_LABEL = r"'),
)
removal(
    "ADR-08",
    "U-labels beside a local part that is not ASCII",
    (DOMAIN, "    return u_labels if unicode else a_labels", "    return a_labels"),
)
removal(
    "ADR-09", "encoded words in an address", (MAILBOX, "    if search_encoded_word(local):", "    if False:")
)
removal(
    "ADR-09",
    "encoded words in a quoted local part",
    (MAILBOX, "    if search_encoded_word(content):", "    if False:"),
)
removal(
    "ADR-10",
    "header and envelope come from the same mailboxes",
    (
        "message/composing.py",
        "        envelope = Envelope.between(sender, recipients)",
        "        envelope = Envelope.between(sender, recipients[-1:])",
    ),
)
removal(
    "ADR-10",
    "names cannot become addresses",
    ("address/phrase.py", "[name if _is_atoms(name) else quote(name), path]", "[name, path]"),
)
removal(
    "ADR-11",
    "an address literal is an IP address",
    (DOMAIN, '        return f"[{ipaddress.IPv4Address(inside)}]"', '        return f"[{inside}]"'),
)
removal("ADR-11", "a zone is of this machine only", (DOMAIN, ' and "%" not in inside', ""))
removal(
    "ADR-12",
    "the greatest length of an address",
    (MAILBOX, "    if len(normal.encode()) > MAX_ADDRESS:", "    if False:"),
    (
        "address/syntax.py",
        "    if plain is None or len(text) > MAX_ADDRESS:",
        "    if plain is None:",
    ),
    (GRAMMAR, "    if match is None or len(text) > MAX_ADDRESS:", "    if match is None:"),
    (GRAMMAR, "if simple is not None and simple.end() - position <= MAX_ADDRESS:", "if simple is not None:"),
)
removal(
    "ADR-13",
    "an empty address",
    (
        GRAMMAR,
        '        if not words:\n            raise self._refusal("has an empty address")',
        '        if not words:\n            return "postmaster@x.example"',
    ),
)
removal(
    "ADR-13",
    "the lenient grammar knows a route from other colons",
    (
        "address/lenient.py",
        '        if _is_route("".join("d" if kind in _DOMAINS else value for kind, value, _ in inside)):',
        "        if True:",
    ),
)
removal(
    "ADR-14",
    "the case of a local part is kept",
    (
        "address/syntax.py",
        'return text if text.islower() else f"{plain[1]}@{plain[2].lower()}"',
        'return f"{plain[1].lower()}@{plain[2].lower()}"',
    ),
)
removal(
    "ADR-15",
    "each address is looked at once",
    (
        "address/envelope.py",
        "            recipients = tuple(dict.fromkeys(recipients))",
        "            recipients = tuple(r for n, r in enumerate(recipients) if r not in recipients[:n])",
    ),
)
removal(
    "ADR-15",
    "the usual address takes one match",
    (
        GRAMMAR,
        "            position = simple.end()\n            continue\n",
        "            text, position = text[simple.end() :], 0\n            list(map(len, text))\n            continue\n",
    ),
)

# -- message data ----------------------------------------------------------------------------------------------------

DATA = "smtp/data.py"
removal(
    "DAT-01",
    "bare CR and LF become CRLF on the way out",
    (DATA, '    return _LINE_END.sub(b"\\r\\n", data)\n', "    return data\n"),
)
removal(
    "DAT-01",
    "dots are doubled",
    (DATA, 'with_crlf(block).replace(b"\\r\\n.", b"\\r\\n..")', "with_crlf(block)"),
)
removal(
    "DAT-02",
    "line ends of a raw message",
    ("message/raw.py", "    octets = with_crlf(given)\n", "    octets = given\n"),
)
removal(
    "DAT-03",
    "a dot in the first line",
    (DATA, '        if self._at_line_start and stuffed.startswith(b"."):', "        if False:"),
)
removal(
    "DAT-03",
    "a line end before the lone dot",
    (DATA, "        if self._held_cr or not self._at_line_start:", "        if False:"),
)
removal(
    "DAT-04",
    "a CR at the end of a block waits for its LF",
    (DATA, '        self._held_cr = block.endswith(b"\\r")', "        self._held_cr = False"),
)
removal("DAT-05", "NUL in a raw message", ("message/raw.py", '    if b"\\0" in octets:', "    if False:"))
removal(
    "DAT-05",
    "NUL in text is encoded",
    ("message/encoding.py", 'if "\\0" not in text and lines_fit(octets):', "if lines_fit(octets):"),
)
removal(
    "DAT-06",
    "lines over 998 octets in a raw message",
    ("message/raw.py", "    if not lines_fit(octets):", "    if False:"),
)
removal(
    "DAT-06",
    "lines over 998 octets in text are encoded",
    ("message/encoding.py", 'if "\\0" not in text and lines_fit(octets):', 'if "\\0" not in text:'),
)
removal(
    "DAT-07",
    "a source that fails ends nothing",
    (
        "smtp/pipeline.py",
        "        for block in t.content.blocks():\n            if data := stuffer.feed(block):\n                yield data\n        self._write_end(t, stuffer.finish())",
        "        try:\n            for block in t.content.blocks():\n                if data := stuffer.feed(block):\n                    yield data\n        finally:\n            self._write_end(t, stuffer.finish())",
    ),
)
removal(
    "DAT-08",
    "a file that has changed is not sent",
    ("message/sources.py", "        if _identity(os.fstat(number)) != self._identity:", "        if False:"),
)
removal(
    "DAT-08",
    "the last block of a chunk waits for the end of its source",
    (
        "smtp/pipeline.py",
        "            if held and block:\n                yield held\n",
        "            yield block\n",
    ),
    (
        "smtp/pipeline.py",
        "        yield held\n        self._writing = None\n",
        "        self._writing = None\n",
    ),
)
removal(
    "DAT-09",
    "no dot is doubled in a chunk",
    (
        "smtp/pipeline.py",
        "            content = BytesContent(with_crlf(content.data))\n",
        "            content = BytesContent(stuffed(with_crlf(content.data)))\n",
    ),
)
removal(
    "DAT-10",
    "what is signed is what is sent",
    ("message/dkim/canonical.py", "        if not (self._empty and self._relaxed):", "        if True:"),
)
removal(
    "DAT-11",
    "a message without From is not signed",
    ("message/dkim/signing.py", '    if b"from" not in fields:', "    if False:"),
)
removal(
    "DAT-12",
    "a lone dot keeps both sides in step",
    (
        "smtp/pipeline.py",
        "            if not t.is_pointless:\n                self._write_content(t)\n                return\n",
        "            self._write_content(t)\n            return\n",
    ),
)

# -- what costs too much, files, logs --------------------------------------------------------------------------------

IMAGES = "message/data_urls.py"
removal(
    "DOS-01",
    "what was read as an attribute is not read again as a tag",
    (IMAGES, "        position = found.end()\n", "        position = at = found.end()\n"),
    (IMAGES, "_attribute(page, position)", "_attribute(page, at)"),
    (IMAGES, "            position = attribute.end()\n", "            at = attribute.end()\n"),
)
removal(
    "HDR-16",
    "html that is nested too deep to be read is an error of its field",
    ("message/html_text.py", "    except RecursionError:\n", "    except ZeroDivisionError:\n"),
)
removal(
    "DOS-02",
    "a comment is walked over once",
    (
        "address/tokens.py",
        "        for step in _COMMENT_STEP.finditer(self._text, start):\n",
        "        for step in list(_COMMENT_STEP.finditer(self._text, start)):\n",
    ),
)
removal(
    "DOS-02",
    "comments are nested 50 deep at most",
    ("address/tokens.py", "                if depth > _DEEPEST_COMMENT:", "                if False:"),
)
removal(
    "DOS-03",
    "there is room for one character in each encoded word",
    (
        "address/encoded_words.py",
        "    return _cut_b(octets, max(first, _SHORTEST_ROOM) - _FRAME, longest - _FRAME)",
        "    return _cut_b(octets, 0, 0)",
    ),
)
removal(
    "DOS-05",
    "a batch that was cancelled is forgotten",
    ("policy/line.py", "            self._sweep()\n", "            pass\n"),
)
removal(
    "FIL-01",
    "no file is read where none may",
    ("message/files.py", "    if access.files is False:", "    if False:"),
)
removal(
    "FIL-03",
    "only regular files are read",
    ("message/files.py", "    if not stat.S_ISREG(os.stat(path).st_mode):", "    if False:"),
    ("message/files.py", "        if not stat.S_ISREG(os.fstat(number).st_mode):", "        if False:"),
)
removal(
    "FIL-03",
    "nothing outside of the directory is read",
    ("message/files.py", "    if not real.startswith(prefix):", "    if False:"),
    ("message/files.py", "    if os.open not in os.supports_dir_fd or not _NO_LINK:", "    if True:"),
)
removal(
    "FIL-03",
    "a link that is put there meanwhile is not followed",
    ("message/files.py", "    if os.open not in os.supports_dir_fd or not _NO_LINK:", "    if True:"),
)
removal(
    "FIL-03",
    "what has no size is no file on a disk",
    ("message/sources.py", "        if not octets and _some(file, 1, name, field):", "        if False:"),
    ("message/files.py", "    if not stat.S_ISREG(os.stat(path).st_mode):", "    if False:"),
    ("message/files.py", "        if not stat.S_ISREG(os.fstat(number).st_mode):", "        if False:"),
)
removal(
    "FIL-02",
    "no URL is fetched where none may be",
    ("net/fetch.py", "    if not access.urls:", "    if False:"),
)
removal(
    "FIL-04",
    "no redirect leads from https to http",
    ("net/fetch.py", 'if (parts.scheme, there.scheme) == ("https", "http"):', "if False:"),
)
removal(
    "FIL-04",
    "a redirect leads to the web only",
    (
        "net/fetch.py",
        "    if parts.scheme not in _SCHEMES or not parts.hostname or port == 0:",
        "    if False:",
    ),
)
removal(
    "LOG-03",
    "header fields do not follow to another origin",
    ("net/fetch.py", "                    headers = {}  # it may be anybody's", "                    pass"),
)
removal(
    "FIL-05",
    "no way leads to this machine or a private network",
    ("net/fetch.py", "not all(map(is_public, addresses))", "False"),
)
removal(
    "FIL-05",
    "the checked address is the one connected to",
    (
        "net/fetch.py",
        "super().connect_tcp(address, port, timeout",
        "super().connect_tcp(host, port, timeout",
    ),
)
removal(
    "FIL-06",
    "nothing is taken that is compressed",
    ("net/fetch.py", '.strip().lower() not in ("", "identity"):', ".strip().lower() in ():"),
)
removal(
    "FIL-06",
    "no more is read than may be",
    (
        "message/sources.py",
        "        if self._most is not None and self.size > self._most:",
        "        if False:",
    ),
)
removal(
    "FIL-06",
    "a fetch has its time",
    ("net/fetch.py", "asyncio.timeout(access.timeout)", "asyncio.timeout(None)"),
)
removal(
    "FIL-09",
    "what a hook makes of a message is sealed by the same policy",
    (
        "preparing/preparation.py",
        "            defaults=defaults,\n            access=self._access,\n",
        "            defaults=defaults,\n",
    ),
)
removal(
    "FIL-07",
    "keys that TLS options do not have",
    (
        "options/tls.py",
        '                raise unknown("tls.", key, names)\n        return cls(**value)',
        "                pass\n        return cls(**{key: value[key] for key in value if key in names})",
    ),
)
removal(
    "FIL-08",
    "a data URI over the cap",
    (
        "message/data_uris.py",
        "    if (characters // 4 * 3 if is_base64 else characters // 3) > most:",
        "    if False:",
    ),
    ("message/data_uris.py", "    if len(octets) > most:", "    if False:"),
)
removal(
    "LOG-01",
    "credentials show no secret",
    (CREDENTIALS, 'shown = f", {secret}=***"', 'shown = f", {secret}={self.password or self.access_token}"'),
)
removal(
    "LOG-01",
    "a token server that repeats what it was asked with",
    ("auth/oauth2.py", '            text = text.replace(form, "***")\n', "            pass\n"),
)
removal(
    "LOG-01",
    "what OAuth2 shows of itself",
    ("options/oauth2.py", '{client}, ***)"', '{client}, {self.secrets})"'),
)
removal(
    "LOG-03",
    "a token server's redirect is an error",
    ("auth/oauth2.py", "if 300 <= answer.status < 400:", "if False:"),
)
removal(
    "LOG-01",
    "a reply that repeats the login is cleaned",
    (
        "results.py",
        '                lines = tuple(line.replace(secret, b"***") for line in lines)\n',
        "                pass\n",
    ),
)
removal(
    "LOG-02",
    "control characters of a reply are escaped",
    (
        "results.py",
        "return tuple(_decode(raw) for raw in self._raw)",
        'return tuple(raw.decode("latin-1") for raw in self._raw)',
    ),
)
