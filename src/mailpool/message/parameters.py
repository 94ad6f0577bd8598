"""Media types and the parameters of MIME header fields (RFC 2045 §5.1, RFC 2183, RFC 2231)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ..address import without_lone_surrogates
from ..errors import MessageError
from .folding import LINE, refuse_line_breaks

_WORD = r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]++"
_is_token = re.compile(_WORD).fullmatch
# Less than a token: some readers take ' and * for signs of RFC 2231.
_is_simple = re.compile(r"[A-Za-z0-9._\-]++").fullmatch
# RFC 6838 §4.2: at most 127 characters each.
_is_media_type = re.compile(rf"(?=[^/]{{1,127}}/[^/]{{1,127}}\Z)({_WORD})/({_WORD})").fullmatch
_parameter = re.compile(rf'[ \t]*;[ \t]*({_WORD})=(?:({_WORD})|"((?:[^"\\]|\\.)*+)")').match
# RFC 2231 §7: attribute-char.
_PERCENT = {octet: f"%{octet:02X}" for octet in range(256)}
for _safe in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$&+-.^_`{|}~":
    _PERCENT[_safe] = chr(_safe)
_LONGEST_PLAIN: Final = 60
_LONGEST_SEGMENT: Final = 54


def media_type(text: object, field: str) -> tuple[str, dict[str, str]]:
    """``text`` such as ``text/csv; charset=utf-8`` as type/subtype in lower case, and its parameters.

    Raises ``MessageError`` when it does not follow RFC 2045 §5.1.
    """
    head, semicolon, _ = text.partition(";") if isinstance(text, str) else ("", "", "")
    if not isinstance(text, str) or not _is_media_type(head.strip(" \t")):
        raise MessageError(f"{field}: {text!r:.80} is not a media type; write type/subtype", field=field)
    parameters: dict[str, str] = {}
    position = len(head)
    rest = len(text.rstrip(" \t;"))
    while semicolon and position < rest:
        found = _parameter(text, position)
        if found is None:
            raise MessageError(
                f'{field}: the parameters of {text!r:.80} cannot be read; write ; name="value"', field=field
            )
        value = found[2] if found[2] is not None else re.sub(r"\\(.)", r"\1", found[3])
        parameters[found[1].lower()] = value
        position = found.end()
    return head.strip(" \t").lower(), parameters


def with_parameters(name: str, value: str, parameters: Mapping[str, str], field: str) -> str:
    """A MIME header field with its parameters, folded between them, with its CRLF.

    Values that are not short printable ASCII are written by RFC 2231 §3 and §4: in UTF-8, in numbered segments.
    Raises ``MessageError`` when a parameter's name is no token, or its value holds a line break or NUL.
    """
    lines = [f"{name}: {value}"]
    length = len(lines[0])
    for key, text in parameters.items():
        if not _is_token(key) or len(key) > 40:
            raise MessageError(f"{field}: {key!r:.60} is not the name of a parameter", field=field)
        refuse_line_breaks(text, field)
        for piece in _pieces(key, text):
            length += 2 + len(piece)
            if length >= LINE:
                lines.append(f";\r\n {piece}")
                length = 1 + len(piece)
            else:
                lines.append(f"; {piece}")
    lines.append("\r\n")
    return "".join(lines)


def _pieces(key: str, text: str) -> list[str]:
    if len(text) <= _LONGEST_PLAIN and text.isascii() and text.isprintable():
        if _is_simple(text):
            return [f"{key}={text}"]
        # Many readers decode an encoded word here although RFC 2047 §5 forbids it: such text must not look like one.
        if "=?" not in text:
            escaped = text.replace("\\", "\\\\").replace('"', '\\"')
            return [f'{key}="{escaped}"']
    coded = without_lone_surrogates(text).encode().decode("latin-1").translate(_PERCENT)
    if len(coded) <= _LONGEST_SEGMENT:
        return [f"{key}*=utf-8''{coded}"]
    segments: list[str] = []
    while coded:
        end = _LONGEST_SEGMENT
        if len(coded) > end:
            # Neither a %XX nor a character may be split: some readers decode each segment by itself.
            if coded[end - 1] == "%":
                end -= 1
            elif coded[end - 2] == "%":
                end -= 2
            while coded[end] == "%" and coded[end + 1] in "89AB":
                end -= 3
        charset = "" if segments else "utf-8''"
        segments.append(f"{key}*{len(segments)}*={charset}{coded[:end]}")
        coded = coded[end:]
    return segments
