"""Independent parsers of messages, each in one process for a whole corpus, and that corpus."""

from .corpus import Letter, corpus
from .readers import READERS, EmailMime, Mailparser, StandardLibrary
from .reading import Part, Read, Reader

__all__ = [
    "READERS",
    "EmailMime",
    "Letter",
    "Mailparser",
    "Part",
    "Read",
    "Reader",
    "StandardLibrary",
    "corpus",
]
