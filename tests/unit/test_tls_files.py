"""Certificates and keys that cannot be loaded: the error names the option and the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailpool import ConfigurationError
from mailpool.net.tls import context_for
from mailpool.options import Options, TLSOptions
from mailpool.testing import Authority


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"ca_file": "{tmp}/none.pem"}, "tls.ca_file '{tmp}/none.pem' cannot be loaded: No such file or directory"),
        ({"ca_file": "{tmp}/empty.pem"}, "tls.ca_file '{tmp}/empty.pem' cannot be loaded: "),
        ({"ca_data": "no certificate"}, "tls.ca_data cannot be loaded: "),
        ({"cert_file": "{tmp}/none.pem"}, "tls.cert_file '{tmp}/none.pem' cannot be loaded: No such file"),
        (
            {"cert_file": "{tmp}/cert.pem", "key_file": "{tmp}/empty.pem"},
            "tls.cert_file '{tmp}/cert.pem' with key_file '{tmp}/empty.pem' cannot be loaded: ",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_loaded_is_named(
    authority: Authority, tmp_path: Path, options: dict[str, str], named: str
) -> None:
    (tmp_path / "empty.pem").touch()
    certificate, _ = authority.write_certificate(tmp_path, "localhost")
    certificate.rename(tmp_path / "cert.pem")
    given = {name: value.format(tmp=tmp_path) for name, value in options.items()}
    with pytest.raises(ConfigurationError) as caught:
        context_for(Options(tls=TLSOptions(**given)))
    assert str(caught.value).startswith(named.format(tmp=tmp_path))
    assert caught.value.option == "tls"
