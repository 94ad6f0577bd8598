"""Templates, by the real Jinja2, css-inline and MJML."""

from __future__ import annotations

import builtins
import datetime
import email.policy
import socket
import subprocess
import sys
import threading
from email.parser import BytesParser
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from mailpool import ConfigurationError, MailMerge, Markup, MessageError
from mailpool.message import seal
from mailpool.templates import Templates

NOW = datetime.datetime(2026, 1, 5, tzinfo=datetime.UTC)
WELCOME = {
    "base.html": (
        "<html><head><title>{% block subject %}{% endblock %}</title><style>{% include 'style.css' %}</style></head>"
        "<body>{% block body %}{% endblock %}</body></html>"
    ),
    "style.css": "p { color: red } @media (max-width: 9px) { p { color: blue } }",
    "welcome.html": (
        "{% extends 'base.html' %}\n{% block subject %}\n  Hello {{ name }} &amp; all\n{% endblock %}\n"
        '{% block body %}<p title="{{ name }}">Dear {{ name }}</p>{% endblock %}'
    ),
}


def octets(fields: dict[str, Any]) -> bytes:
    fields = {"from": "a@x.example", "to": "b@y.example"} | fields
    return b"".join(seal(fields, now=NOW, token=lambda: "0123").content.blocks())


def test_a_message_from_html_alone() -> None:
    made = Templates(WELCOME).message(
        "welcome", {"name": '<Ann> & "Bo"'}, to="b@y.example", from_="a@x.example"
    )
    assert made["subject"] == 'Hello <Ann> & "Bo" & all'
    assert made["text"] == 'Dear <Ann> & "Bo"\n'
    assert made["from"] == "a@x.example"
    page = made["html"]
    found: list[Any] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: found.append((tag, dict(attributes)))
    parser.feed(page)
    assert [tag for tag, _ in found] == ["html", "head", "style", "title", "body", "p"]
    assert found[-1] == ("p", {"title": '<Ann> & "Bo"', "style": "color: red;"})
    assert ">Dear &lt;Ann&gt; &amp; " in page
    assert "@media (max-width: 9px)" in page
    assert octets(made)


def test_files_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "news").mkdir()
    (tmp_path / "news/may.subject.txt").write_text("  News for {{ name }}\n", "utf-8")
    (tmp_path / "news/may.txt").write_text(
        "Liebe {{ name }},\n\n{% if x %}\nyes\n{% endif %}\nGrüße\n", "utf-8"
    )
    (tmp_path / "news/may.html").write_text("<p>{{ name }}</p>", "utf-8")
    for folder in (tmp_path, str(tmp_path)):
        made = Templates(folder).message("news/may", {"name": "Zoë & Co", "x": True})
        assert made == {
            "subject": "News for Zoë & Co",
            "text": "Liebe Zoë & Co,\n\nyes\nGrüße\n",
            "html": "<p>Zoë &amp; Co</p>",
        }


def test_text_alone_and_html_alone() -> None:
    assert Templates({"a.txt": "{{ x }}\n"}).message("a", {"x": 1}) == {"text": "1\n"}
    assert Templates({"a.html": "<b>x</b>"}, text_from_html=False).message("a") == {"html": "<b>x</b>"}
    raw = {"a.html": "<style>b { color: red }</style><b>x</b>"}
    assert Templates(raw, inline_css=False).message("a")["html"] == raw["a.html"]


def test_fields_win_over_the_template() -> None:
    made = Templates({"a.txt": "x", "a.subject.txt": "s"}).message(
        "a", subject="mine", list_={"id": "l.example"}
    )
    assert (made["subject"], made["text"], made["list"]) == ("mine", "x", {"id": "l.example"})


def test_markup_is_not_escaped() -> None:
    assert Templates({"a.html": "{{ x }}"}).message("a", {"x": Markup("<b>")})["html"] == "<b>"


def test_mjml_becomes_html() -> None:
    mjml = "<mjml><mj-head><mj-title>{% block subject %}{{ x }}{% endblock %}</mj-title></mj-head><mj-body><mj-section><mj-column><mj-text>Hi {{ x }}</mj-text></mj-column></mj-section></mj-body></mjml>"
    made = Templates({"a.mjml": mjml}).message("a", {"x": "<i>"})
    assert made["subject"] == "<i>"
    assert "Hi &lt;i&gt;" in made["html"]
    assert "mj-text" not in made["html"]
    assert "Hi <i>" in made["text"]


def test_a_message_can_become_a_letter() -> None:
    made = Templates({"a.txt": "{% raw %}Dear {name}{% endraw %} in {{ year }}"}).message("a", {"year": 2026})
    assert MailMerge({**made, "from": "a@x.example"}).fill(name="Ann").fields()["text"] == "Dear Ann in 2026"


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "there is no a.html, a.mjml or a.txt"),
        ({"a.txt": "{{ missing }}"}, "a.txt: 'missing' is undefined"),
        ({"a.html": "{{ x.y.z }}"}, "a.html: .*has no attribute 'y'"),
        ({"a.txt": "ok", "a.subject.txt": "{{ missing }}"}, "a.subject.txt: 'missing'"),
        ({"a.html": "{% block subject %}{{ missing }}{% endblock %}"}, "a.html: 'missing'"),
        ({"a.txt": "1\n{% if %}"}, "a.txt, line 2: "),
        ({"a.txt": "{% extends 'none.txt' %}"}, "a.txt: .*none.txt"),
        ({"a.txt": "{% include 'b.txt' %}", "b.txt": "\n{{"}, "b.txt, line 2"),
        ({"a.txt": "{{ 1 / 0 }}"}, "a.txt: division by zero"),
        ({"a.mjml": "<p>no"}, "a.mjml: is no MJML"),
    ],
)
def test_what_is_wrong_is_named(files: dict[str, str], words: str) -> None:
    with pytest.raises(MessageError, match=words) as caught:
        Templates(files).message("a", {"x": 1})
    assert caught.value.field in ("a", "a.txt", "a.html", "a.subject.txt", "a.mjml")


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../secret", "..\\secret"])
def test_no_template_outside_of_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.txt").write_text("secret", "utf-8")
    (tmp_path / "folder").mkdir()
    with pytest.raises(MessageError, match="there is no"):
        Templates(tmp_path / "folder").message(name)
    with pytest.raises(MessageError):
        Templates({"a.txt": f"{{% include '{name.encode('unicode_escape').decode()}.txt' %}}"}).message("a")


# -- hostile values and templates ------------------------------------------------------------------------------------


@pytest.mark.rule("HDR-01")
@pytest.mark.parametrize("line_break", ["\r\n", "\r", "\n", "\r\n ", "\n\n", "\0"])
@pytest.mark.parametrize(
    "files",
    [
        {"a.txt": "x", "a.subject.txt": "Hello {{ v }}!"},
        {"a.html": "<title>{% block subject %}Hello {{ v }}!{% endblock %}</title>"},
    ],
)
def test_a_value_starts_no_header(files: dict[str, str], line_break: str) -> None:
    made = Templates(files).message("a", {"v": f"x{line_break}Bcc: evil@z.example"})
    with pytest.raises(MessageError) as caught:
        octets(made)
    assert caught.value.field == "subject"


def test_values_reach_no_other_field() -> None:
    made = Templates({"a.txt": "{{ to }}"}).message(
        "a", {"to": "t", "bcc": "evil@z.example", "attachments": [{"path": "/x"}]}
    )
    assert made == {"text": "t"}


@pytest.mark.parametrize("value", ["<script>", "&", "\"'", "</title>"])
def test_html_is_always_escaped(value: str) -> None:
    for file in ("a.html", "a.mjml"):
        body = "<p>{{ v }}</p>"
        if file == "a.mjml":
            body = f"<mjml><mj-body><mj-section><mj-column><mj-text>{body}</mj-text></mj-column></mj-section></mj-body></mjml>"
        page = Templates({file: body}).message("a", {"v": value})["html"]
        assert f"<p>{value}</p>" not in page


@pytest.mark.parametrize(
    "code",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ v.__init__.__globals__ }}",
        "{{ items.append(1) }}",
        "{{ cycler.__init__.__globals__.os }}",
        "{% for i in range(10000000) %}{% endfor %}",
        "{{ '{0.__class__}'.format(v) }}",
    ],
)
def test_a_sandboxed_template_reaches_nothing(code: str) -> None:
    with pytest.raises(MessageError, match=r"a\.txt"):
        Templates({"a.txt": code}, sandboxed=True).message("a", {"v": object(), "items": []})


@pytest.mark.rule("FIL-01")
def test_html_reads_no_file_and_no_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    css = tmp_path / "x.css"
    css.write_text("p { color: rebeccapurple }", "utf-8")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/x.css"
        for where in (str(css), css.as_uri(), "x.css", url):
            monkeypatch.chdir(tmp_path)
            page = f'<link rel="stylesheet" href="{where}"><style>@import url("{where}"); a {{ color: red }}</style><p>x</p>'
            assert "rebeccapurple" not in Templates({"a.html": page}).message("a")["html"]
            mjml = f"<mjml><mj-body><mj-include path='{where}' type='css'/></mj-body></mjml>"
            with pytest.raises(MessageError, match=r"a\.mjml"):
                Templates({"a.mjml": mjml}).message("a")
        with pytest.raises(TimeoutError):
            server.accept()


# -- preview ---------------------------------------------------------------------------------------------------------


def test_a_preview_is_two_files(tmp_path: Path) -> None:
    page, mail = Templates(WELCOME).preview("welcome", tmp_path / "new/p.html", {"name": "Ann"})
    assert (page, mail) == (tmp_path / "new/p.html", tmp_path / "new/p.eml")
    assert 'style="color: red;">Dear Ann</p>' in page.read_text("utf-8")
    read = BytesParser(policy=email.policy.default).parsebytes(mail.read_bytes())
    assert (read["subject"], read["to"]) == ("Hello Ann & all", "recipient@preview.invalid")


def test_a_preview_of_text(tmp_path: Path) -> None:
    page, mail = Templates({"a.txt": "<b> é"}).preview("a", tmp_path / "p", to="c@z.example")
    assert page.read_text("utf-8") == "<pre>&lt;b&gt; é</pre>\n"
    assert b"To: c@z.example" in mail.read_bytes()


# -- packages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "files", "extra"),
    [
        ("jinja2", {"a.txt": "x"}, "templates"),
        ("css_inline", {"a.html": "<style>a { color: red }</style>"}, "templates"),
        ("mjml", {"a.mjml": "<mjml></mjml>"}, "mjml"),
    ],
)
def test_a_missing_package_says_what_to_install(
    module: str, files: dict[str, str], extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mailpool.templates import pages

    pages._inliner.cache_clear()
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == module:
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigurationError, match=rf"pip install mailpool\[{extra}\]"):
        Templates(files).message("a")


# -- once wrong, now proven ------------------------------------------------------------------------------------------


@pytest.mark.rule("DOS-02")
@pytest.mark.parametrize("tags", ["<div>", "<table><td>", "<ul><li>", "<svg><g>"])
def test_html_that_is_nested_deep_does_not_end_the_program(tags: str) -> None:
    # In a process of its own, for the stack's end is the program's.
    code = (
        "from mailpool.templates import Templates\n"
        f"page = '<style>p {{color: red}}</style>' + {tags!r} * (20_000 // {tags.count('<')}) + '<p>x'\n"
        "print(Templates({'w.html': page}, text_from_html=False).message('w')['html'].count('color: red'))\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "1\n"), ended.stderr


def test_html_with_too_many_tags_is_refused() -> None:
    with pytest.raises(MessageError, match="over 100000 tags"):
        Templates({"w.html": "<style>p {color: red}</style>" + "<b>" * 100_000}).message("w")


def test_the_stack_of_other_threads_stays_as_it_was() -> None:
    before = threading.stack_size()
    with pytest.raises(MessageError, match="cannot be inlined"):
        Templates({"w.html": "<style>p {color: red}</style>" + "<b>" * 500 + "\ud800"}).message("w")
    assert threading.stack_size() == before


@pytest.mark.parametrize(
    "page",
    [
        "{% include 'w.html' %}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
        "{{ broken() }}",
        "{{ [].nothing() }}",
    ],
)
def test_whatever_goes_wrong_in_a_template_names_it(page: str) -> None:
    def broken() -> None:
        raise RuntimeError("out of order")

    with pytest.raises(MessageError, match=r"w\.html") as caught:
        Templates({"w.html": page}).message("w", {"broken": broken})
    assert caught.value.field == "w.html"
    assert caught.value.__cause__ is not None


def test_text_that_is_included_in_html_can_be_escaped() -> None:
    page = "<p>{% filter forceescape %}{% include 'footer.txt' %}{% endfilter %}"
    templates = Templates({"w.html": page, "footer.txt": "{{ name }}"})
    assert templates.message("w", {"name": "<b>"})["html"] == "<p>&lt;b&gt;"


def test_a_byte_order_mark_is_no_part_of_a_template(tmp_path: Path) -> None:
    for name, text in (("w.subject.txt", "Hello"), ("w.txt", "Grüße {{ n }}"), ("w.html", "<p>{{ n }}</p>")):
        (tmp_path / name).write_text(text, encoding="utf-8-sig")
    message = Templates(tmp_path).message("w", {"n": "Anna"})
    assert [message[name] for name in ("subject", "text", "html")] == ["Hello", "Grüße Anna", "<p>Anna</p>"]
