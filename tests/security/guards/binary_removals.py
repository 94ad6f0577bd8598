"""The guards around binary parts (RFC 3030 §3)."""

from __future__ import annotations

from removals import removal

removal(
    "HDR-15",
    "a boundary is in no binary part",
    ("message/parts.py", 'BARE: Final = ("7bit", "8bit", "binary")', 'BARE: Final = ("7bit", "8bit")'),
)
removal(
    "HDR-15",
    "a large binary part is looked through for a chosen boundary",
    ("message/writing.py", '(chosen or leaf.encoding != "binary"', '(leaf.encoding != "binary"'),
)
removal(
    "DAT-05",
    "binary content goes to no server without BINARYMIME",
    ("smtp/transaction.py", "        if not capabilities.binarymime:", "        if False:"),
)
removal(
    "DAT-05",
    "binary content goes to no carrier that does not say it keeps it",
    (
        "transports/carriage.py",
        "(sealed.extensions is not None or sealed.content.binary)",
        "sealed.extensions is not None",
    ),
)
removal(
    "DAT-09",
    "binary content never goes by DATA",
    ("smtp/transaction.py", "    transaction.chunked = binary  ", "    "),
)
removal(
    "DAT-09",
    "binary content keeps its line ends",
    ("smtp/pipeline.py", "not (content.crlf_only or content.binary)", "not content.crlf_only"),
)
removal(
    "DAT-10",
    "binary content is not signed by DKIM",
    ("message/dkim/signing.py", "    if content.binary:", "    if False:"),
)
removal(
    "DAT-10",
    "binary content is not signed by S/MIME",
    ("message/smime/wrapping.py", "    if binary:", "    if False:"),
)
