"""The verifier beside our own: what does OpenSSL say of the same chain?"""

import subprocess
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from cryptography import x509

from pki.authority import to_pem
from tests import requirements


def openssl_objection(
    directory: Path,
    chain: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    now: datetime,
    purpose: str = "",
) -> str:
    """Say why `openssl verify` refuses *chain* at *now*, or nothing. Anchors need not be self-signed."""
    leaf, above, trusted = directory / "leaf.pem", directory / "above.pem", directory / "trusted.pem"
    leaf.write_text(to_pem(chain[:1]))
    above.write_text(to_pem(chain[1:]))
    trusted.write_text(to_pem(anchors))
    argv = [
        requirements.program("openssl"),
        "verify",
        "-x509_strict",
        "-partial_chain",
        "-attime",
        str(int(now.timestamp())),
    ]
    argv += ["-CAfile", str(trusted)]
    argv += ["-purpose", purpose] if purpose else []
    argv += ["-untrusted", str(above)] if len(chain) > 1 else []
    done = subprocess.run([*argv, str(leaf)], capture_output=True, text=True, timeout=20, check=False)
    return "" if done.returncode == 0 else done.stderr.strip() or done.stdout.strip() or "refused"
