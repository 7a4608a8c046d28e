"""What pkilint holds against our certificates by RFC 5280: nothing, but that it does not know `spiffe://`."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from cryptography import x509

from pki.authority import new_root, to_pem
from pki.signer import KeySigner
from pki.spiffe import gateway_id, workload_id
from tests.authorities import NOW, Authorities

ONPREM = "onprem.fed.example"
FED = Authorities()
ISSUING = FED.issuing_ca("onprem").certificate

CERTIFICATES = {
    "root": FED.root.certificate,
    "hub CA": FED.hub_ca.certificate,
    "issuing CA": ISSUING,
    "hub": FED.hub("hub.example.com", "192.0.2.1", "2001:db8::1").certificate,
    "agent": FED.agent("onprem").certificate,
    "gateway": FED.svid(gateway_id(ONPREM, "ingress", "gw-1")).certificate,
    "workload": FED.svid(workload_id(ONPREM, "shop", "cart")).certificate,
}
PAIRS = {
    "hub CA": (FED.root.certificate, FED.hub_ca.certificate),
    "issuing CA": (FED.hub_ca.certificate, ISSUING),
    "hub": (FED.hub_ca.certificate, CERTIFICATES["hub"]),
    "workload": (ISSUING, CERTIFICATES["workload"]),
}


class Description(msgspec.Struct):
    code: str
    message: str | None = None


class Finding(msgspec.Struct):
    finding_descriptions: list[Description]


class Findings(msgspec.Struct):
    results: list[Finding]


def found(folder: Path, program: str, *certificates: x509.Certificate) -> list[str]:
    """What `program` finds that is worth more than information, without what is allowed."""
    paths = [folder / f"{n}.pem" for n in range(len(certificates))]
    for path, certificate in zip(paths, certificates, strict=True):
        path.write_text(to_pem([certificate]))
    argv = [
        str(Path(sys.executable).parent / program),
        "lint",
        "-s",
        "NOTICE",
        "-f",
        "JSON",
        *map(str, paths),
    ]
    said = subprocess.run(argv, capture_output=True, timeout=120, check=False).stdout
    results = msgspec.json.decode(said, type=Findings).results
    told = [f"{d.code}: {d.message}" for finding in results for d in finding.finding_descriptions]
    return [
        line
        for line in told
        if not line.startswith('pkix.invalid_uri_syntax: Invalid URI syntax: "spiffe://')
    ]


@pytest.mark.parametrize("kind", CERTIFICATES)
def test_a_certificate_of_each_kind_is_as_the_standard_wants_it(kind: str, tmp_path: Path) -> None:
    assert found(tmp_path, "lint_pkix_cert", CERTIFICATES[kind]) == []


@pytest.mark.parametrize("kind", PAIRS)
def test_each_certificate_says_who_issued_it_as_the_standard_wants_it(kind: str, tmp_path: Path) -> None:
    assert found(tmp_path, "lint_pkix_signer_signee_cert_chain", *PAIRS[kind]) == []


def test_the_linter_does_find_what_is_wrong(tmp_path: Path) -> None:
    stranger = new_root("fed.example", KeySigner.generate(), NOW).certificate
    assert found(tmp_path, "lint_pkix_signer_signee_cert_chain", stranger, ISSUING)
