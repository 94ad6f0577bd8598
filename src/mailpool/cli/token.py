"""The command ``mailpool token``: a person allows the program to send, and it prints the refresh token."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from mailpool import ConfigurationError, DeviceCode, TokenFailed, device_login

from .loop import run
from .relay import CaFile, fail_usage


def token(
    client_id: Annotated[str, typer.Option("--client-id", help="Of the registered application.")],
    tenant: Annotated[
        str | None,
        typer.Option("--tenant", help="Microsoft's directory, by id or domain.", show_default=False),
    ] = None,
    device_url: Annotated[
        str | None,
        typer.Option("--device-url", help="Where codes come from, if not Microsoft's.", show_default=False),
    ] = None,
    token_url: Annotated[
        str | None,
        typer.Option("--token-url", help="Where tokens come from, if not Microsoft's.", show_default=False),
    ] = None,
    scope: Annotated[
        str | None, typer.Option("--scope", help="What is asked for.", show_default=False)
    ] = None,
    ca_file: CaFile = None,
    proxy: Annotated[
        str | None, typer.Option("--proxy", help="URL of a proxy on the way.", show_default=False)
    ] = None,
) -> None:
    """Get a refresh token for OAuth2: shows a code for a person to enter in a browser, and prints the token.

    A client secret, where there is one, comes from MAILPOOL_CLIENT_SECRET. Exit status: 0 if a token was had, 1 if not,
    2 if the command is wrong.
    """
    elsewhere = device_url is not None or token_url is not None
    if elsewhere and (device_url is None or token_url is None):
        raise fail_usage("--device-url and --token-url belong together")
    try:
        refresh_token = run(
            device_login(
                _show,
                client_id=client_id,
                provider=None if elsewhere else "microsoft",
                tenant=tenant,
                device_url=device_url,
                token_url=token_url,
                scope=scope,
                client_secret=os.environ.get("MAILPOOL_CLIENT_SECRET") or None,
                ca_file=str(ca_file) if ca_file else None,
                proxy=proxy,
            )
        )
    except ConfigurationError as error:
        raise fail_usage(str(error)) from None
    except TokenFailed as error:
        typer.echo(f"mailpool: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo("This is the refresh token. Whoever has it can send as you.", err=True)
    typer.echo(refresh_token)


def _show(code: DeviceCode) -> None:
    minutes = max(1, round(code.expires_in / 60))
    typer.echo(
        f"Open {code.verification_uri} and enter {code.user_code} (within {minutes} minutes)", err=True
    )
