"""Logging in, without I/O: which mechanism, and what it answers to each challenge (RFC 4422, RFC 4954).

The clock, the dice and what the connection is bound to are told by a `LoginContext`.
"""

from .choice import choose
from .exchange import MAX_COMMAND, MOST_CHALLENGES, Exchange
from .external import External
from .mechanism import LoginContext, Mechanism
from .passwords import CramMd5, Login, Plain
from .scram import Scram
from .tokens import OAuthBearer, XOAuth2

__all__ = [
    "MAX_COMMAND",
    "MOST_CHALLENGES",
    "CramMd5",
    "Exchange",
    "External",
    "Login",
    "LoginContext",
    "Mechanism",
    "OAuthBearer",
    "Plain",
    "Scram",
    "XOAuth2",
    "choose",
]
