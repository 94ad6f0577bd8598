"""From the fields of a message to its sealed content: headers, encodings, MIME parts.

Pure, but for attachments given as a path, whose files are read at sealing time.
"""

from __future__ import annotations

from .fields import Attachment, Message
from .merge import MailMerge, Markup, Merged
from .seal import Sealed, seal

__all__ = ["Attachment", "MailMerge", "Markup", "Merged", "Message", "Sealed", "seal"]
