"""The SASL mechanisms by name, and which of them protect more than others.

What is compared is what a server, or somebody in its place, gets out of a login: a password to read, an answer to guess
the password from, or nothing.
"""

from __future__ import annotations

# Weakest first; those of one line are worth the same.
_LADDER = (
    ("PLAIN", "LOGIN"),  # the password itself
    ("CRAM-MD5", "NTLM"),  # an answer to guess it from; the server proves nothing
    ("XOAUTH2", "OAUTHBEARER"),  # a token, worth something for an hour
    ("SCRAM-SHA-1",),  # the server proves that it knows the password, too
    ("SCRAM-SHA-256",),
    ("SCRAM-SHA-1-PLUS",),  # and that nobody is in between
    ("SCRAM-SHA-256-PLUS",),
    ("EXTERNAL", "GSSAPI"),  # nothing that could be reused is shown
)
STRENGTH = {name: step for step, names in enumerate(_LADDER) for name in names}

# Which of them can do with a password, with a token, or without either.
FOR_PASSWORD = frozenset(
    {"PLAIN", "LOGIN", "CRAM-MD5", "NTLM", "GSSAPI"}
    | {name for name in STRENGTH if name.startswith("SCRAM-")}
)
FOR_TOKEN = frozenset({"XOAUTH2", "OAUTHBEARER"})
WITHOUT_SECRET = frozenset({"EXTERNAL", "GSSAPI"})


def meets(name: str, least: str | None) -> bool:
    """Whether a mechanism protects at least as much as ``least``; ``None`` is met by all, and nothing by strangers."""
    return least is None or STRENGTH.get(name, -1) >= STRENGTH[least]
