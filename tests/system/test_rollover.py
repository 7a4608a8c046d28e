"""A rollover as its operator takes it, by commands: an agent that does not answer, and roots of a company."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from clusters.identity import ROOTS_FILE
from federation.commands.answers import records
from federation.demo.process import Process
from pki.authority import from_pem
from pki.bundle import fingerprint_of, root_of
from tests import requirements
from tests.system.processes import Federation, federation

pytestmark = pytest.mark.slow

SVIDS = ("--svid-lifetime", "16s")
EXTENSIONS = """
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[below]
basicConstraints = critical, CA:TRUE, pathlen:{below}
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


@pytest.fixture
def fed(short_path: Path) -> Iterator[Federation]:
    with federation(short_path / "fed") as built:
        yield built


def rollover(fed: Federation, *words: str, answer: str | None = None) -> "subprocess.CompletedProcess[str]":
    return fed.hub("ca", "rollover", *words, answer=answer)


def lagging(fed: Federation) -> set[str]:
    parties = records(fed.admin.get("/v1/ca/rollover"), "parties")
    return {str(party["name"]) for party in parties if party["state"] != "ready"}


def until_next_is(fed: Federation, step: str) -> None:
    fed.until(f"what is next is to {step}", lambda: fed.admin.get("/v1/ca/rollover").get("next") == step)


def trusted(fed: Federation, cluster: str) -> list[str]:
    """The fingerprints of the roots on an agent's disk."""
    return [fingerprint_of(pem) for pem in _each(fed.state(cluster) / ROOTS_FILE)]


def told(fed: Federation) -> list[str]:
    """Those that the hub has."""
    return [str(root["fingerprint"]) for root in records(fed.admin.get("/v1/ca"), "roots")]


def _each(file: Path) -> list[str]:
    end = "-----END CERTIFICATE-----\n"
    return [f"{each}{end}" for each in file.read_text().split(end)[:-1]]


def finished(fed: Federation) -> None:
    """Take the last step when it may be taken."""
    until_next_is(fed, "finish")
    assert rollover(fed, "finish").returncode == 0


def states(fed: Federation) -> dict[str, str]:
    return {str(c["name"]): str(c["state"]) for c in records(fed.admin.get("/v1/clusters"), "clusters")}


def test_who_does_not_answer_is_named_and_is_shut_out_only_by_who_means_it(fed: Federation) -> None:
    fed.start_hub()
    fed.join("west", *SVIDS)
    east: Process = fed.join("east", *SVIDS)
    before = told(fed)
    with east.frozen():
        assert rollover(fed, "start").returncode == 0
        fed.until("all others are ready", lambda: lagging(fed) == {"east"})
        refused = rollover(fed, "resume")
        assert (refused.returncode, "east" in refused.stderr, "west" in refused.stderr) == (7, True, False)

        by_nobody = rollover(fed, "resume", "--skip", "east")
        assert (by_nobody.returncode, "say --yes" in by_nobody.stderr) == (2, True)
        thought_better = rollover(fed, "resume", "--skip", "east", answer="n")
        assert "Shut east out of the clusterset" in thought_better.stderr
        assert thought_better.returncode != 0
        assert states(fed)["east"] != "evicted"
        assert told(fed)[0] == before[0]

        meant = rollover(fed, "resume", "--skip", "east", answer="y")
        assert meant.returncode == 0, meant.stderr
        assert states(fed)["east"] == "evicted"
    finished(fed)
    (root,) = told(fed)
    assert root not in before
    fed.until("west has the new root alone", lambda: trusted(fed, "west") == [root])

    assert fed.hub("clusters", "readmit", "east").returncode == 0
    east.stop()
    fed.join("east", "--rejoin", *SVIDS)
    assert trusted(fed, "east") == [root]


@dataclass
class Company:
    """A CA that is `openssl` and nothing else, in a folder of its own."""

    folder: Path

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self._openssl = requirements.program("openssl")
        self._run("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "root.key")
        self._run(
            "req", "-new", "-key", "root.key", "-subj", f"/CN={self.folder.name} root", "-out", "root.csr"
        )
        self._sign("root.csr", "root.pem", "root", "-signkey", "root.key")

    @property
    def root(self) -> str:
        """Its root, PEM."""
        return (self.folder / "root.pem").read_text()

    def answer(self, request: str) -> Path:
        """The chain that answers a request for a hub CA."""
        (self.folder / "hub.csr").write_text(request)
        self._certify("hub.csr", "hub.pem", below=1)
        chain = self.folder / "chain.pem"
        chain.write_text((self.folder / "hub.pem").read_text() + self.root)
        return chain

    def vouch(self, other: "Company") -> Path:
        """The cross-certificate for another's root."""
        (self.folder / "other.csr").write_bytes((other.folder / "root.csr").read_bytes())
        self._certify("other.csr", "cross.pem", below=2)
        return self.folder / "cross.pem"

    def _certify(self, request: str, to: str, *, below: int) -> None:
        self._sign(request, to, "below", "-CA", "root.pem", "-CAkey", "root.key", below=below)

    def _sign(self, request: str, to: str, section: str, *by: str, below: int = 0) -> None:
        (self.folder / "extensions").write_text(EXTENSIONS.format(below=below))
        words = ["-req", "-in", request, "-out", to, "-days", "60", "-sha256", "-set_serial", "0x4711"]
        self._run("x509", *words, "-extfile", "extensions", "-extensions", section, *by)

    def _run(self, *words: str) -> None:
        argv = [self._openssl, *words]
        subprocess.run(argv, cwd=self.folder, check=True, capture_output=True, timeout=20)


def test_a_companys_root_takes_over_from_anothers_and_neither_key_is_ever_here(fed: Federation) -> None:
    old, new = Company(fed.folder / "old"), Company(fed.folder / "new")
    asked = fed.folder / "asked.csr"
    ended = fed.hub_once("--hub-ca-csr", str(asked))
    assert ended.returncode == 0, ended.stderr
    fed.start_hub("--hub-ca-chain", str(old.answer(asked.read_text())))
    fed.join("west", *SVIDS)
    assert told(fed) == trusted(fed, "west") == [fingerprint_of(old.root)]

    chain = new.answer(fed.hub("ca", "csr", "--next").stdout)
    without = rollover(fed, "start", "--hub-ca-chain", str(chain))
    assert (without.returncode != 0, "--cross-cert" in without.stderr) == (True, True)
    words = ("start", "--hub-ca-chain", str(chain), "--cross-cert", str(old.vouch(new)))
    started = rollover(fed, *words)
    assert started.returncode == 0, started.stderr
    until_next_is(fed, "switch")
    assert rollover(fed, "resume").returncode == 0
    finished(fed)
    assert told(fed) == [fingerprint_of(new.root)]
    fed.until("west has the new root alone", lambda: trusted(fed, "west") == told(fed))
    issuing = from_pem((fed.state("west") / "issuing.pem").read_text())
    assert root_of(issuing, from_pem(new.root)) is not None
    assert not list(fed.hub_state.glob("*root.key*"))

    renewed = fed.hub("ca", "install", str(new.answer(fed.hub("ca", "csr").stdout)))
    assert renewed.returncode == 0, renewed.stderr
    fed.join("east", *SVIDS)
    assert trusted(fed, "east") == told(fed)
