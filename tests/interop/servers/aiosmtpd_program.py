"""The program behind ``Aiosmtpd``: takes every message of whoever logs in, and reports it on standard output."""

from __future__ import annotations

import asyncio
import email
import json
import ssl
import sys
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


class Handler:
    """Hooks of aiosmtpd."""

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, host: str, lines: list[str]
    ) -> list[str]:
        session.host_name = host
        # Lines are read one by one, so that nothing keeps a client from sending several.
        return [*lines[:-1], "250-PIPELINING", lines[-1]]

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.original_content or b""
        message = email.message_from_bytes(content)
        if message["Subject"] == "virus":
            return "554 5.7.1 refused for its content"
        message_id = message["Message-ID"] or ""
        report({"message_id": message_id.strip(), "recipients": envelope.rcpt_tos})
        return "250 2.0.0 taken"


def report(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


async def main(settings: dict[str, Any]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(settings["certificate"], settings["key"])
    implicit = settings["tls"] == "implicit"
    expected = LoginPassword(settings["username"].encode(), settings["password"].encode())

    def authenticate(
        server: SMTP, session: Session, envelope: Envelope, mechanism: str, credentials: Any
    ) -> AuthResult:
        return AuthResult(success=credentials == expected, handled=False)

    def connection() -> SMTP:
        return SMTP(
            Handler(),
            hostname="aiosmtpd.example",
            enable_SMTPUTF8=True,
            authenticator=authenticate,
            auth_required=True,
            # Under TLS from the first octet aiosmtpd does not know that there is TLS.
            auth_require_tls=not implicit,
            tls_context=None if implicit else context,
            require_starttls=not implicit,
        )

    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        connection, settings["host"], settings["port"], ssl=context if implicit else None, backlog=100
    )
    report({"port": server.sockets[0].getsockname()[1]})
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
