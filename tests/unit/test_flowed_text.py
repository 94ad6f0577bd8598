"""``format=flowed``, line by line. Of the parsers that read the messages of other tests, only one knows it."""

from __future__ import annotations

from typing import Any

import pytest
from sealing import part_of, sealed, text_of

from mailpool.errors import MessageError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("short\n", "short\n"),
        ("a " * 50, ("a " * 37 + "a \n" + "a " * 11 + "a\n")),
        (" a\n>b\nFrom c\nFromd\n", "  a\n>b\n From c\nFromd\n"),
        ("trailing   \n-- \nsig", "trailing\n-- \nsig\n"),
        ("-- " + "x" * 80, "-- " + "x" * 80 + "\n"),
        ("> " + "w " * 40, "> " + "w " * 36 + "w \n> w w w\n"),
        (">>" + "w " * 40, ">>" + "w " * 36 + "w \n>> w w w\n"),
        ("x" * 200, "x" * 200 + "\n"),
        (".\n..\n", ".\n..\n"),
        ("", "\n"),
        ("\r\n\r", "\n\n"),
    ],
)
def test_lines(text: str, expected: str) -> None:
    result = sealed(text=text, text_format="flowed")
    assert part_of(result, "text/plain").get_param("format") == "flowed"
    assert text_of(result) == expected or text_of(result) == expected.removesuffix("\n")


@pytest.mark.parametrize("value", ["fixed", "", True, 5])
def test_what_is_no_format(value: Any) -> None:
    with pytest.raises(MessageError) as caught:
        sealed(html="x", text_format=value)
    assert caught.value.field == "text_format"
