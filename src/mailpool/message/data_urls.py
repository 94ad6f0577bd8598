"""Images that stand in the HTML as ``data:`` URLs (RFC 2397) become parts that it refers to (RFC 2392)."""

from __future__ import annotations

import hashlib
import html
import mimetypes
import re

from .data_uris import data_uri, is_data_uri
from .fields import Attachment

_find_image = re.compile(r"<img(?=[\s/])", re.IGNORECASE).search
# One attribute, or the end of the tag. No part can match what another one could: a tag is read in linear time (DOS-01).
_attribute = re.compile(
    r"[\s/]*+(?:(?P<end>>)|(?P<name>[^\s/>=][^\s/>=]*+)"
    r"(?:\s*+=\s*+(?:\"(?P<double>[^\"]*+)\"|'(?P<single>[^']*+)'|(?P<bare>[^\s\"'>][^\s>]*+)))?+)"
).match
_is_image = re.compile(r"image/[A-Za-z0-9!#$&^_.+-]{1,60}").fullmatch


def attached_images(page: str, most: int) -> tuple[str, list[Attachment]]:
    """``page`` with ``cid:`` in place of the ``data:`` URLs of its ``<img src>``, and the images, each of them once.

    Only ``image/…`` is taken out; all else stays as it is. Raises ``MessageError`` for an image that cannot be decoded,
    or holds more than ``most`` octets.
    """
    pieces: list[str] = []
    images: dict[str, Attachment] = {}
    position = done = 0
    while found := _find_image(page, position):
        position = found.end()
        while (attribute := _attribute(page, position)) and not attribute["end"]:
            position = attribute.end()
            group = next((name for name in ("double", "single", "bare") if attribute[name] is not None), None)
            if group is None or attribute["name"].lower() != "src":
                continue
            image = _image(attribute[group], most)
            if image is not None:
                kind, octets = image
                digest = hashlib.sha256(kind.encode() + b"\0" + octets).hexdigest()[:32]
                cid = f"{digest}@images.invalid"  # what is in it makes it unique
                if cid not in images:
                    name = f"image-{len(images) + 1}{mimetypes.guess_extension(kind) or ''}"
                    images[cid] = Attachment(content=octets, content_type=kind, cid=cid, filename=name)
                pieces += (page[done : attribute.start(group)], f"cid:{cid}")
                done = attribute.end(group)
    pieces.append(page[done:])
    return "".join(pieces), list(images.values())


def _image(value: str, most: int) -> tuple[str, bytes] | None:
    """The media type and the octets of an image in a ``data:`` URL, or ``None`` for any other value."""
    value = value.strip()
    if not is_data_uri(value):
        return None
    value = html.unescape(value) if "&" in value else value
    head = value[5 : value.find(",") if "," in value else 5]
    kind = head.partition(";")[0].strip().lower()
    if not _is_image(kind):
        return None
    octets, _ = data_uri(value, "html", most)
    return (kind, octets) if octets else None
