"""A real Sendmail, Debian's, with a short configuration of its own: STARTTLS, PIPELINING, DSN, and nothing leaves its queue.

It wants a host name with a dot, or sleeps for a minute, and keys only in folders that nobody else can write to, also not
those above. So it runs in namespaces of its own, where its home is at another place. Its AUTH would need Cyrus SASL's
configuration below ``/etc``, and is left out.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import ClassVar

from .packages import unpack
from .real_server import Delivery, NotAvailable, RealServer, free_port, once

PACKAGES = (
    "sendmail-bin",
    "libdb5.3",
    "libldap-2.5-0",
    "liblockfile1",
    "libnsl2",
    "libsasl2-2",
    "libwrap0",
)

# Its rules want a tab between both sides.
_CONFIGURATION = """\
V10/Berkeley
Cwlocalhost
Djsendmail.example
DnMAILER-DAEMON
O QueueDirectory=/mnt/queue
O PidFile=/mnt/pid
O StatusFile=/dev/null
O AliasFile=/dev/null
O DaemonPortOptions=Name=MTA, Addr=127.0.0.1, Port={port}
O DeliveryMode=queueonly
O MaxMessageSize=20971520
O MaxRecipientsPerMessage={most_recipients}
O MinFreeBlocks=1000
O QueueLA=1000000
O RefuseLA=1000000
O DefaultUser=8:8
O TrustedUser=root
O SmtpGreetingMessage=$j Sendmail; $b
O Timeout.ident=0s
O DontProbeInterfaces=True
O ServerCertFile=/mnt/certificate.pem
O ServerKeyFile=/mnt/key.pem
O CACertFile=/mnt/ca.pem
O CACertPath=/mnt
O TLSSrvOptions=V
O AuthMechanisms=NONE
Troot
H?D?Date: $a
HReceived: by $j id $i; $b
H?F?From: $g
H?M?Message-Id: <$t.$i@$j>
HSubject: $>CheckSubject
S3
R$* < $* > $*	$: $2
S0
R$*	$#relay $@ nowhere.invalid $: $1
SCheckSubject
Rvirus	$#error $@ 5.7.1 $: "554 refused for its content"
Scheck_rcpt
R$* refused$* @ $*	$#error $@ 5.1.1 $: "550 no such user"
Mlocal,	P=/bin/false, F=lsDFMAw5, A=false
Mprog,	P=/bin/false, F=lsDFMoqeu9, A=false
Mrelay,	P=[IPC], F=mDFMuXa8, A=TCP $h
"""

_NAMESPACE = """\
set -e
hostname sendmail.example
mount --rbind "$0" /mnt
exec "$1" -C /mnt/sendmail.cf -bD -X /mnt/traffic
"""

_RECIPIENT = re.compile(r"^RPFD:<(.*)>$", re.M)
_MESSAGE_ID = re.compile(r"^H\?\?Message-ID: (\S+)$", re.M | re.I)


class Sendmail(RealServer):
    """Sendmail, open to all. Nothing leaves its queue, in which the messages are counted.

    ``refused…@`` anywhere is refused as a recipient, and a subject that is ``virus`` after DATA.
    """

    name: ClassVar[str] = "Sendmail"
    requires_auth: ClassVar[bool] = False
    most_recipients: ClassVar[int | None] = 100
    stores: ClassVar[str | None] = "queue"
    small_disk = True  # thousands of files are gone with it at once, and in a namespace it is anyway

    def start(self) -> None:
        if os.geteuid() != 0:
            raise NotAvailable("Sendmail gets a host name and a home of its own here, which takes root")
        root = _unpacked()
        _namespaces()
        self.port = free_port()
        certificate, key = self._authority.write_certificate(self.home, "127.0.0.1", "localhost")
        certificate.rename(self.home / "certificate.pem")
        key.rename(self.home / "key.pem").chmod(0o600)
        text = _CONFIGURATION.format(port=self.port, most_recipients=self.most_recipients)
        (self.home / "sendmail.cf").write_text(text)
        self._make_store().chmod(0o700)
        # The packaged one may become another group, and no such program looks for libraries where it is told to.
        program = shutil.copyfile(root / "usr/libexec/sendmail/sendmail", self.home / "sendmail")
        program.chmod(0o755)
        libraries = [str(folder) for folder in (*root.glob("usr/lib/*-linux-*"), *root.glob("lib/*-linux-*"))]
        environment = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": os.pathsep.join(libraries)}
        with (self.home / "output").open("wb") as output:
            command = ["unshare", "--uts", "--mount", "sh", "-c", _NAMESPACE, self.home, program]
            self._spawn(command, env=environment, stdout=output, stderr=output)
        self._wait_for_greeting()

    def deliveries(self) -> list[Delivery]:
        found: list[Delivery] = []
        # Until it is complete, the name begins with tf.
        for file in self._store.glob("qf*"):
            try:
                text = file.read_text(errors="replace")
            except FileNotFoundError:
                continue  # it was refused in the end
            if message_id := _MESSAGE_ID.search(text):
                found += [Delivery(message_id[1], recipient) for recipient in _RECIPIENT.findall(text)]
        return found

    def log(self) -> str:
        told = ""
        for name in ("output", "traffic"):
            file = self.home / name
            told += file.read_text(errors="replace")[-4000:] if file.exists() else ""
        return told


@once
def _namespaces() -> None:
    if shutil.which("unshare") is None:
        raise NotAvailable("this system has no unshare, which Sendmail needs here")
    attempt = ["unshare", "--uts", "--mount", "hostname", "sendmail.example"]
    done = subprocess.run(attempt, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotAvailable(f"no namespaces are allowed here, which Sendmail needs: {done.stderr.strip()}")


@once
def _unpacked() -> Path:
    return unpack("sendmail", PACKAGES)
