"""The command ``mailpool dkim-key``: a key to sign with, and the record to publish for it."""

from __future__ import annotations

import enum
import os
from pathlib import Path
from typing import Annotated

import typer

from mailpool import ConfigurationError, DkimKey, dkim_record


class Kind(enum.StrEnum):
    RSA = "rsa"
    ED25519 = "ed25519"


def dkim_key(
    domain: Annotated[str, typer.Argument(help="Who signs, such as example.org.")],
    selector: Annotated[str, typer.Argument(help="The name of the key in the DNS, such as 2026a.")],
    file: Annotated[
        Path, typer.Argument(help="The PEM file of the private key. It is made if it is not there.")
    ],
    kind: Annotated[Kind, typer.Option("--kind", help="Of a new key.")] = Kind.RSA,
    bits: Annotated[int, typer.Option("--bits", min=1_024, max=8_192, help="Of a new RSA key.")] = 2_048,
) -> None:
    """Make a DKIM key if there is none, and show the DNS record that publishes it.

    Exit status: 0 if it worked, 1 if not, 2 if the command is wrong.
    """
    try:
        # Before anything is written: is the rest right?
        key = DkimKey(domain, selector, file)
        if not file.exists():
            _write_new(file, kind, bits)
            typer.echo(
                f"{file}: a new private key; keep it where only the program that sends can read it", err=True
            )
        name, text = dkim_record(key)
    except ConfigurationError as error:
        typer.echo(str(error).removeprefix("dkim."), err=True)
        raise typer.Exit(1) from None
    except OSError as error:
        typer.echo(f"{file}: {error.strerror}", err=True)
        raise typer.Exit(1) from None
    # RFC 6376 §3.6.2.2: one record of several strings, since none may have over 255 octets (RFC 1035 §3.3).
    strings = " ".join(f'"{text[start : start + 255]}"' for start in range(0, len(text), 255))
    typer.echo(f"{name}. IN TXT {strings}")


def _write_new(file: Path, kind: Kind, bits: int) -> None:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    except ImportError:
        raise ConfigurationError(
            "this needs the package cryptography: pip install mailpool[dkim]", option="dkim"
        ) from None
    key = (
        ed25519.Ed25519PrivateKey.generate()
        if kind is Kind.ED25519
        else rsa.generate_private_key(65_537, bits)
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    # For nobody else to read, from the first octet on; and nothing that is there is written over.
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(pem)
