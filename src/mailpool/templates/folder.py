"""A folder of templates, and the messages that are made from them."""

from __future__ import annotations

import datetime
import html
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..errors import MailpoolError, MessageError
from ..message import seal
from ..message.html_text import text_from_html
from .pages import html_of_mjml, missing, with_inlined_css

if TYPE_CHECKING:
    from jinja2 import Environment, Template

_NOTHING: Final[Mapping[str, Any]] = {}
_SUBJECT: Final = "subject"
# Stand in for what a preview does not need to know.
_SOMEBODY: Final = {"from": "sender@preview.invalid", "to": "recipient@preview.invalid"}


class Templates:
    """Messages from Jinja2 templates.

    A message is called by its name. For ``welcome`` these files are looked for, of which the second to fourth each
    bring a body:

    - ``welcome.subject.txt``: the subject; or else the block ``subject`` of the HTML, as in
      ``<title>{% block subject %}…{% endblock %}</title>``
    - ``welcome.txt``: the text; where there is none it is made from the HTML
    - ``welcome.html``: the HTML. Values are escaped, and the rules of ``<style>`` are inlined
    - ``welcome.mjml``: MJML, which becomes the HTML; needs ``mailpool[mjml]``

    A variable that is not there is an error. Values go into the subject and the bodies alone, never into another field.

    :param source: the folder, or a mapping of the names of files to their contents
    :param sandboxed: for templates that others wrote: they call nothing that is unsafe and change no value. It does not
        bound the time and the memory that they take
    :param inline_css: whether to inline CSS
    :param text_from_html: whether to make the text from the HTML where there is none
    :raises ConfigurationError: a package is missing; it says what to install
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | Mapping[str, str],
        *,
        sandboxed: bool = False,
        inline_css: bool = True,
        text_from_html: bool = True,
    ) -> None:
        try:
            import jinja2
            import jinja2.sandbox
        except ImportError:
            raise missing("jinja2", "templates") from None
        kind = jinja2.sandbox.ImmutableSandboxedEnvironment if sandboxed else jinja2.Environment
        loader: jinja2.BaseLoader
        if isinstance(source, Mapping):
            loader = jinja2.DictLoader(source)
        else:
            # Some editors begin a file with a byte order mark, which is no part of the text.
            loader = jinja2.FileSystemLoader(os.fspath(source), encoding="utf-8-sig")
        #: Jinja2's own, to add filters and globals to.
        self.environment: Environment = kind(
            loader=loader,
            autoescape=lambda name: name is None or not name.endswith(".txt"),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        self._inline_css = inline_css
        self._text_from_html = text_from_html

    def message(self, name: str, values: Mapping[str, Any] = _NOTHING, /, **fields: Any) -> dict[str, Any]:
        """The fields of a message, for ``send_mail`` and its like.

        :param name: of the template, without an ending
        :param values: the variables of the template
        :param fields: other fields of the message, such as ``to``; ``from_`` is ``from``, and ``list_`` is ``list``. They
            win over those from the template
        :raises MessageError: there is no such template, it is not well-formed, or a variable is missing; it names the file
        """
        made = self._subject(name, values) | self._bodies(name, values)
        return made | {field.rstrip("_"): value for field, value in fields.items()}

    def preview(
        self, name: str, path: str | os.PathLike[str], values: Mapping[str, Any] = _NOTHING, /, **fields: Any
    ) -> tuple[Path, Path]:
        """Write the message to two files to look at: HTML for a browser, and ``.eml`` for a mail reader.

        :param path: of the files; its ending is replaced. Folders are made
        :returns: the paths of the HTML and of the ``.eml``
        :raises MessageError: as for `message`, and as for sending
        """
        made = _SOMEBODY | self.message(name, values, **fields)
        sealed = seal(made, now=datetime.datetime.now().astimezone(), token=lambda: secrets.token_hex(16))
        page, mail = Path(path).with_suffix(".html"), Path(path).with_suffix(".eml")
        page.parent.mkdir(parents=True, exist_ok=True)
        shown = made.get("html")
        page.write_text(
            f"<pre>{html.escape(made['text'])}</pre>\n" if shown is None else shown, encoding="utf-8"
        )
        mail.write_bytes(b"".join(sealed.content.blocks()))
        return page, mail

    def _subject(self, name: str, values: Mapping[str, Any]) -> dict[str, str]:
        file = f"{name}.subject.txt"
        template = self._find(file)
        if template is not None:
            return {"subject": self._rendered(template, file, values).strip()}
        for file in (f"{name}.html", f"{name}.mjml"):
            template = self._find(file)
            if template is not None and _SUBJECT in template.blocks:
                # A block is HTML as all around it is; a subject is text.
                return {"subject": html.unescape(self._rendered(template, file, values, _SUBJECT)).strip()}
        return {}

    def _bodies(self, name: str, values: Mapping[str, Any]) -> dict[str, str]:
        made: dict[str, str] = {}
        text = self._find(f"{name}.txt")
        if text is not None:
            made["text"] = self._rendered(text, f"{name}.txt", values)
        for file in (f"{name}.html", f"{name}.mjml"):
            template = self._find(file)
            if template is None:
                continue
            page = self._rendered(template, file, values)
            if file.endswith(".mjml"):
                page = html_of_mjml(page, file)
            made["html"] = with_inlined_css(page, file) if self._inline_css else page
            break
        if not made:
            raise MessageError(f"{name}: there is no {name}.html, {name}.mjml or {name}.txt", field=name)
        if "text" not in made and self._text_from_html:
            made["text"] = text_from_html(made["html"])
        return made

    def _find(self, file: str) -> Template | None:
        from jinja2 import TemplateNotFound

        try:
            return self.environment.get_template(file)
        except TemplateNotFound as error:
            if error.name == file:
                return None
            raise MessageError(f"{file}: there is no {error.name}", field=file) from error
        except Exception as error:  # whatever Jinja2 and its loader raise
            raise _refusal(file, error) from error

    def _rendered(
        self, template: Template, file: str, values: Mapping[str, Any], block: str | None = None
    ) -> str:
        try:
            if block is None:
                return template.render(values)
            context = template.new_context(dict(values))
            return "".join(template.blocks[block](context))
        except MailpoolError:
            raise
        except Exception as error:  # also of the user's own functions and filters
            raise _refusal(file, error) from error


def _refusal(file: str, error: Exception) -> MessageError:
    line = getattr(error, "lineno", None)
    where = f"{getattr(error, 'name', None) or file}, line {line}" if line else file
    return MessageError(f"{where}: {error}", field=file)
