"""A Kerberos realm of our own: MIT's key distribution centre, and what a client of it needs in Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .daemon import Daemon
from .packages import run, unpack
from .real_server import NotAvailable, alone, cache_folder, free_port, once

PACKAGES = (
    "krb5-kdc",
    "krb5-admin-server",
    "krb5-user",
    "libkadm5srv-mit12",
    "libkadm5clnt-mit12",
    "libkdb5-10",
    "libgssrpc4",
    "libverto1",
    "libverto-libev1",
    "libev4",
    "libkrb5-dev",
    "krb5-multidev",
    "comerr-dev",
    "libsasl2-modules-gssapi-mit",
)
REALM = "MAILPOOL.EXAMPLE"
# The libraries that a Kerberos client is linked with are on every Debian; only their names for linking are not.
_LIBRARIES = ("gssapi_krb5", "krb5", "k5crypto", "krb5support", "com_err")


class Realm(Daemon):
    """A realm with one user and the service ``smtp`` on ``localhost``.

    ``environment``  what clients and servers of the realm have to be told
    ``sasl_path``    where Cyrus SASL's plug-in for GSSAPI is
    """

    user = "me"
    password = "correct horse"

    def __init__(self) -> None:
        super().__init__("kerberos")
        self._root = unpacked()
        self._libraries = next(self._root.glob("usr/lib/*/libkdb5.so.10")).parent
        self.sasl_path = self._libraries / "sasl2"
        self.keytab = self.home / "keytab"
        self.environment = {
            "KRB5_CONFIG": str(self.home / "krb5.conf"),
            "KRB5_KTNAME": f"FILE:{self.keytab}",
            "KRB5CCNAME": f"FILE:{self.home / 'tickets'}",
        }

    def tell(self, program: str, *arguments: str, said: str | None = None) -> None:
        """Run one of the realm's programs; ``said`` is its input."""
        folder = "sbin" if (self._root / "usr/sbin" / program).exists() else "bin"
        done = subprocess.run(
            [self._root / "usr" / folder / program, *arguments],
            env=self._own_environment(),
            input=(said or "").encode(),
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr.decode()}{done.stdout.decode()}")

    def python(self, program: str, *arguments: str, tickets: bool = True) -> str:
        """Run a Python program as a client of the realm, with or without tickets; returns what it printed."""
        paths = [str(client()), *filter(None, sys.path)]
        environment = {**os.environ, **self.environment, "PYTHONPATH": os.pathsep.join(paths)}
        if not tickets:
            environment["KRB5CCNAME"] = f"FILE:{self.home / 'none'}"
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=250,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout.strip()

    def _own_environment(self) -> dict[str, str]:
        return {
            "PATH": os.defpath,
            "LD_LIBRARY_PATH": str(self._libraries),
            "KRB5_KDC_PROFILE": str(self.home / "kdc.conf"),
            **self.environment,
        }

    def start(self) -> None:
        port = free_port()
        (self.home / "krb5.conf").write_text(
            f"[libdefaults]\ndefault_realm = {REALM}\ndns_lookup_kdc = false\ndns_lookup_realm = false\n"
            "dns_canonicalize_hostname = false\nrdns = false\n"
            f"[realms]\n{REALM} = {{\n  kdc = 127.0.0.1:{port}\n}}\n"
            f"[domain_realm]\nlocalhost = {REALM}\n"
        )
        (self.home / "kdc.conf").write_text(
            f"[kdcdefaults]\nkdc_listen = 127.0.0.1:{port}\nkdc_tcp_listen = 127.0.0.1:{port}\n"
            f"[realms]\n{REALM} = {{\n  database_name = {self.home}/principal\n"
            f"  key_stash_file = {self.home}/stash\n  acl_file = {self.home}/acl\n}}\n"
            f"[dbmodules]\ndb_module_dir = {self._libraries / 'krb5/plugins/kdb'}\n"
            f"[logging]\nkdc = FILE:{self.home}/kdc.log\n"
        )
        self.tell("kdb5_util", "create", "-s", "-r", REALM, "-P", "master key of a test")
        self.tell("kadmin.local", "-r", REALM, "-q", f'addprinc -pw "{self.password}" {self.user}')
        self.tell("kadmin.local", "-r", REALM, "-q", "addprinc -randkey smtp/localhost")
        self.tell("kadmin.local", "-r", REALM, "-q", f"ktadd -k {self.keytab} smtp/localhost")
        self.keytab.chmod(0o644)
        self._run(
            [self._root / "usr/sbin/krb5kdc", "-n", "-r", REALM], self._own_environment(), ("127.0.0.1", port)
        )
        self.tell("kinit", f"{self.user}@{REALM}", said=self.password + "\n")


@once
def unpacked() -> Path:
    return unpack("kerberos", PACKAGES)


@once
def client() -> Path:
    """A folder with the Python packages that speak Kerberos, built here if they are not in the cache."""
    if shutil.which("gcc") is None:
        raise NotAvailable("this system has no gcc, so that the Python packages cannot be built")
    root, cache = unpacked(), cache_folder("kerberos")
    # Built for one version of Python.
    folder = cache / f"python{sys.version_info.major}.{sys.version_info.minor}"
    with alone(cache):
        if not folder.exists():
            _build(folder, root, cache)
    return folder


def _build(folder: Path, root: Path, cache: Path) -> None:
    links = cache / "links"
    links.mkdir(exist_ok=True)
    multiarch = next(root.glob("usr/lib/*/libkdb5.so.10")).parent.name
    for library in _LIBRARIES:
        found = sorted(
            place
            for base in ("/usr/lib", "/lib")
            for place in Path(base, multiarch).glob(f"lib{library}.so.?")
        )
        if not found:
            raise NotAvailable(f"this system has no lib{library}")
        (links / f"lib{library}.so").unlink(missing_ok=True)
        (links / f"lib{library}.so").symlink_to(found[0])
    headers = f"-I{root / 'usr/include'} -O0 -w"
    environment = {
        **os.environ,
        "PATH": f"{root / 'usr/bin'}{os.pathsep}{os.environ['PATH']}",
        "LD_LIBRARY_PATH": str(links),
        "CFLAGS": headers,
        "LDFLAGS": f"-L{links}",
        "KRB5_KRB5CONFIG": str(root / "usr/bin/krb5-config.mit"),
        "GSSAPI_COMPILER_ARGS": f"-DHAS_GSSAPI_EXT_H {headers}",
        "GSSAPI_LINKER_ARGS": f"-L{links} -lgssapi_krb5",
        "GSSAPI_MAIN_LIB": str(links / "libgssapi_krb5.so"),
    }
    fresh = cache / "building"
    shutil.rmtree(fresh, ignore_errors=True)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(fresh)]
    run(cache, *install, "gssapi>=1.8", "krb5>=0.5", "decorator", environment=environment)
    fresh.rename(folder)
