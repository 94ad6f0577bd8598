"""Mechanisms that show the password, or an answer to guess it from: PLAIN, LOGIN, CRAM-MD5."""

from __future__ import annotations

import hmac

from .mechanism import Mechanism


class _WithPassword(Mechanism):
    def __init__(self, user: str, password: str) -> None:
        self._user = user.encode("utf-8")
        self._password = password.encode("utf-8")


class Plain(_WithPassword):
    """RFC 4616."""

    name = "PLAIN"

    def start(self) -> bytes:
        self.complete = True
        return b"\0%s\0%s" % (self._user, self._password)


class Login(_WithPassword):
    """Never standardised, and all that some servers offer: the user name, then the password, whatever the prompts say."""

    name = "LOGIN"

    def __init__(self, user: str, password: str) -> None:
        super().__init__(user, password)
        self._answers = [self._password, self._user]

    def step(self, challenge: bytes) -> bytes:
        if not self._answers:
            raise self.over()
        answer = self._answers.pop()
        self.complete = not self._answers
        return answer


class CramMd5(_WithPassword):
    """RFC 2195. It keeps the password from a listener, and proves nothing about the server."""

    name = "CRAM-MD5"
    secure = True

    def step(self, challenge: bytes) -> bytes:
        if self.complete:
            raise self.over()
        self.complete = True
        digest = hmac.new(self._password, challenge, "md5").hexdigest()
        return b"%s %s" % (self._user, digest.encode("ascii"))
