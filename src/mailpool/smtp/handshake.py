"""From the greeting to a connection that is ready for mail: EHLO, STARTTLS, AUTH (RFC 5321 §3.1, RFC 3207, RFC 4954).

``handshake`` is a generator: it yields what is to be done and is sent what came of it, and so reads like the dialogue
itself. It does no I/O. Nothing is pipelined here: each step decides what the next one is, and what was said before TLS
is forgotten with it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from ..errors import AuthenticationFailed, ConnectionFailed, SendError, TLSFailed
from ..options import Credentials, Options
from ..results import Phase, Reply
from . import commands
from .capabilities import Capabilities
from .sasl import Exchange, LoginContext, Mechanism, choose


class Expect(NamedTuple):
    """Send nothing; the answer is the next reply."""

    phase: Phase


class Write(NamedTuple):
    """Send ``data``; the answer is its reply."""

    phase: Phase
    data: bytes


class StartTLS(NamedTuple):
    """Do the TLS handshake now; nothing may be left over from before. The answer is None."""


class Login(NamedTuple):
    """Credentials are about to be used. The answer is a `LoginContext`, with the access token if one is configured.

    ``again`` asks for a new token because the server refused the last one.
    """

    again: bool = False


class Compute(NamedTuple):
    """Call ``work`` where it holds nothing up: it takes long. The answer is what it returns."""

    work: Callable[[], bytes | None]


Step = Expect | Write | StartTLS | Login | Compute
Answer = Reply | LoginContext | bytes | None
Dialogue = Generator[Step, Answer, "Session"]


@dataclass(frozen=True, slots=True)
class Session:
    """What a handshake came to."""

    capabilities: Capabilities
    greeting: Reply
    mechanism: str | None = None


def handshake(options: Options, credentials: Credentials | None, *, name: str, encrypted: bool) -> Dialogue:
    """Run the dialogue from the greeting on.

    :param credentials: who to be; None: nobody
    :param name: what EHLO says
    :param encrypted: whether TLS is on already
    :raises ConnectionFailed: the server does not want us now, or is no mail server
    :raises TLSFailed: TLS is required and not to be had
    :raises AuthenticationFailed: the credentials are refused, or there is no way to present them
    """
    greeting = yield from _ask(Expect(Phase.GREETING))
    if greeting.code != 220:
        raise _refusal(Phase.GREETING, greeting, "the server does not want this connection")
    capabilities = yield from _hello(options, name)
    if not encrypted:
        encrypted = yield from _start_tls(options, credentials, capabilities)
        if encrypted:
            # What was offered in clear text proves nothing (RFC 3207 §4.2).
            capabilities = yield from _hello(options, name)
    mechanism = None
    if credentials is not None:
        mechanism = yield from _authenticate(options, credentials, capabilities, encrypted)
    if not (encrypted and options.verifies_tls):
        # A promise of TLS on the whole way begins with this connection (RFC 8689 §4.1).
        capabilities = capabilities.without(("REQUIRETLS",))
    return Session(capabilities, greeting, mechanism)


def _ask(step: Expect | Write, secrets: Iterable[bytes] = ()) -> Generator[Step, Answer, Reply]:
    reply = yield step
    assert isinstance(reply, Reply)
    if reply.code == 421 and step.phase is not Phase.GREETING:
        reply = reply.without(secrets)
        raise _refusal(step.phase, reply, f"the server closed the connection in reply to {step.phase}")
    return reply


def _hello(options: Options, name: str) -> Generator[Step, Answer, Capabilities]:
    verb = "LHLO" if options.lmtp else "EHLO"
    reply = yield from _ask(Write(Phase.EHLO, commands.hello(verb, name)))
    if reply.is_success:
        return Capabilities.parse(reply).without(options.disable)
    if not reply.is_permanent or options.lmtp:
        raise _refusal(Phase.EHLO, reply, f"the server did not take {verb}")
    reply = yield from _ask(Write(Phase.EHLO, commands.hello("HELO", name)))
    if reply.is_success:
        return Capabilities.none()
    raise _refusal(Phase.EHLO, reply, "the server took neither EHLO nor HELO")


def _start_tls(
    options: Options, credentials: Credentials | None, capabilities: Capabilities
) -> Generator[Step, Answer, bool]:
    """Whether TLS is on afterwards."""
    mode = options.starttls
    if mode == "never":
        return False
    clear_is_fine = options.is_loopback or options.allow_cleartext_auth
    required = mode == "required" or (mode == "auto" and credentials is not None and not clear_is_fine)
    if not capabilities.starttls:
        if required:
            because = "starttls is 'required'" if mode == "required" else "auth is set, and a login needs TLS"
            raise TLSFailed(
                f"{because}, but the server does not offer STARTTLS. Use the port for TLS from the first byte "
                "(secure=True, usually 465), or find out who strips the offer",
                phase=Phase.STARTTLS,
            )
        return False
    reply = yield from _ask(Write(Phase.STARTTLS, commands.STARTTLS))
    if reply.code == 220:
        yield StartTLS()
        return True
    if mode == "opportunistic":
        return False
    raise TLSFailed(
        f"the server offers STARTTLS and then refused it: {reply}. Mail is not sent in clear text instead",
        phase=Phase.STARTTLS,
        reply=reply,
        temporary=reply.is_temporary,
    )


def _authenticate(
    options: Options, credentials: Credentials, capabilities: Capabilities, encrypted: bool
) -> Generator[Step, Answer, str]:
    for again in (False, True):
        context = yield Login(again)
        assert isinstance(context, LoginContext)
        secret = credentials.password if credentials.access_token is None else context.token
        mechanism = choose(
            credentials,
            capabilities.auth,
            encrypted=encrypted,
            allow_cleartext=options.allow_cleartext_auth or options.is_loopback,
            forced=options.auth_method,
            least=options.min_mechanism,
            context=context,
        )
        reply = yield from _exchange(Exchange(mechanism), secret or "")
        if reply.code == 235:
            return mechanism.name
        # A provider of tokens gets one chance to give a fresh one (P-19).
        if not (credentials.renews and reply.is_permanent):
            break
    raise AuthenticationFailed(
        f"the server refused the login of {credentials.user!r} with {mechanism.name}: {reply}"
        + _explain(reply, mechanism),
        phase=Phase.AUTH,
        reply=reply,
        temporary=reply.is_temporary,
    )


def _exchange(exchange: Exchange, secret: str) -> Generator[Step, Answer, Reply]:
    """One run of a SASL mechanism; returns the reply that ended it.

    Some servers repeat what they were given; it must not reach an error or a log.
    """
    said = [secret.encode()]
    try:
        line = yield from _worked_out(exchange.begin, slow=exchange.is_slow(None))
        while line is not None:
            said.append(line.removeprefix(b"AUTH %s" % exchange.mechanism.name.encode()).strip())
            reply = yield from _ask(Write(Phase.AUTH, line), said)
            line = yield from _worked_out(partial(exchange.answer, reply), slow=exchange.is_slow(reply))
    except SendError as error:
        if error.reply is not None:
            error.reply = error.reply.without(said)
        raise
    return reply.without(said)


def _worked_out(work: Callable[[], bytes | None], *, slow: bool) -> Generator[Step, Answer, bytes | None]:
    if not slow:
        return work()
    line = yield Compute(work)
    assert line is None or isinstance(line, bytes)
    return line


def _explain(reply: Reply, mechanism: Mechanism) -> str:
    if reply.is_temporary:
        return ". It may take the login later"
    details = f" ({mechanism.detail})" if mechanism.detail else ""
    if reply.code == 504 or mechanism.name.startswith("SCRAM-"):
        # Nothing weaker is tried by itself: whoever can refuse could then have the password.
        return (
            f"{details}. Check user and password; if they are right, the server may offer {mechanism.name} without "
            "being able to do it for this user: name another mechanism with auth_method"
        )
    if mechanism.name == "EXTERNAL":
        return f"{details}. Check the certificate that you show (tls={{'cert_file': …}}) and the user"
    return f"{details}. Check user and password or token"


def _refusal(phase: Phase, reply: Reply, what: str) -> ConnectionFailed:
    return ConnectionFailed(f"{what}: {reply}", phase=phase, reply=reply, temporary=True)
