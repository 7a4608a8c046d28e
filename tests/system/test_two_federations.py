"""Two federations that believe each other, by real hubs and agents, and the SPIFFE project's own client.

one.example   serves its bundles with the hub's SVID; two.example follows them by https_spiffe
two.example   serves its own with a certificate of the web's; one.example follows them by https_web
"""

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
import yaml
from cryptography import x509
from spiffe import JwtSvid, TrustDomain, WorkloadApiClient
from spiffe.errors import PySpiffeError

from clusters import keyring
from clusters.clock import utc_now
from clusters.foreign import BundleEndpoint, Profile
from clusters.identity import load_identity
from federation.commands.answers import records
from federation.trust.fetching import fetch
from pki import keystore
from pki.authority import from_pem, to_pem
from pki.bundle import check_svid
from pki.jwt_svid import sign
from pki.profile import svid
from pki.signer import KeySigner
from pki.spiffe import SpiffeId, workload_id
from tests.authorities import Authorities
from tests.pki.openssl import openssl_objection
from tests.system.processes import Federation, federation

pytestmark = pytest.mark.slow

T = TypeVar("T")
AUDIENCE = "everybody"
REFRESH = timedelta(seconds=15)
"""After this a follower looks again; a new issuing CA signs after twice as long. `rotate` waits for less."""


@dataclass(frozen=True)
class Side:
    """A federation of one cluster, in which this process is the workload `shop/us`."""

    fed: Federation
    cluster: str

    @property
    def trust_domain(self) -> str:
        return f"{self.cluster}.{self.fed.domain}"

    @property
    def us(self) -> SpiffeId:
        return workload_id(self.trust_domain, "shop", "us")

    @property
    def state(self) -> Path:
        return self.fed.state(self.cluster)

    def url(self, trust_domain: str) -> str:
        """Where it serves the bundle of one of its trust domains."""
        return f"https://{self.fed.address}:7445/bundles/{trust_domain}"

    def start(self, *options: str) -> None:
        """Run hub and agent; the agent has nothing but this process as a workload."""
        refresh = ("--bundle-refresh", f"{REFRESH.seconds}s")
        self.fed.start_hub("--bundle-listen", f"{self.fed.address}:7445", *refresh, *options)
        source = self.fed.folder / "source.yaml"
        workload = {"namespace": "shop", "name": "us", "unix": {"uid": os.geteuid()}}
        source.write_text(yaml.safe_dump({"services": [], "workloads": [workload]}))
        self.fed.join(self.cluster, "--source", str(source), "--svid-lifetime", "10s")

    def trust(self, *words: str) -> None:
        ended = self.fed.hub("trust", "add", *words)
        assert ended.returncode == 0, ended.stderr

    def follows_well(self) -> int:
        """How many trust domains outside it has good bundles of."""
        listed = records(self.fed.admin.get("/v1/trust"), "trust")
        return sum(each["state"] == "good" for each in listed)

    def ask(self, question: Callable[[WorkloadApiClient], T]) -> T:
        """Ask its Workload API."""
        with WorkloadApiClient(f"unix://{self.state}/workload.sock", default_timeout=10) as client:
            return question(client)

    def believes(self, token: str) -> bool:
        """Whether its Workload API, and the bundle that it gives for the subject's domain, take *token*."""
        try:
            proven = self.ask(lambda client: client.validate_jwt_svid(token, AUDIENCE))
            bundles = self.ask(lambda client: client.fetch_jwt_bundles())
            bundle = bundles.get_bundle_for_trust_domain(proven.spiffe_id.trust_domain)
            assert bundle is not None
            JwtSvid.parse_and_validate(token, bundle, {AUDIENCE})
        except PySpiffeError:
            return False
        return True

    def authorities(self, trust_domain: str) -> list[x509.Certificate]:
        """By which X.509 authorities it believes *trust_domain*."""
        bundles = self.ask(lambda client: client.fetch_x509_bundles())
        bundle = bundles.get_bundle_for_trust_domain(TrustDomain(trust_domain))
        return list(bundle.x509_authorities) if bundle else []

    def token(self) -> str:
        """A JWT-SVID of ours."""
        return self.ask(lambda client: client.fetch_jwt_svid({AUDIENCE}).token)

    def chain(self) -> list[x509.Certificate]:
        """An X.509-SVID of ours."""
        return list(self.ask(lambda client: client.fetch_x509_svid().cert_chain))


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Side, Side]]:
    folder = tmp_path_factory.mktemp("two")
    with ExitStack() as stack:
        one, two = (
            Side(stack.enter_context(federation(folder / name, f"{name}.example")), cluster)
            for name, cluster in (("one", "west"), ("two", "east"))
        )
        _begin(one, two, folder)
        yield one, two


def _begin(one: Side, two: Side, folder: Path) -> None:
    """Start both, and have each believe the other's cluster."""
    web = Authorities(utc_now())
    shown = web.hub(two.fed.address)
    for name, content in (("web.pem", shown.chain_pem), ("web.key", shown.key_pem), ("ca.pem", web.root_pem)):
        keystore.write(folder / name, content.encode())
    one.fed.environment["SSL_CERT_FILE"] = str(folder / "ca.pem")
    one.start()
    two.start("--bundle-cert", str(folder / "web.pem"), "--bundle-key", str(folder / "web.key"))

    one.trust(two.trust_domain, two.url(two.trust_domain))
    hub, first = f"spiffe://{one.fed.domain}/hub", folder / "one.json"
    at = BundleEndpoint(one.fed.domain, one.url(one.fed.domain), Profile.SPIFFE, hub)
    roots = from_pem(keystore.read(one.fed.hub_state / "root.pem"))
    first.write_text(asyncio.run(fetch(at, roots)))  # as its operator hands it over
    spiffe = ("--profile", "https_spiffe", "--spiffe-id", hub)
    two.trust(one.fed.domain, at.url, *spiffe, "--bundle", str(first))
    two.trust(one.trust_domain, one.url(one.trust_domain), *spiffe)
    one.fed.until("it has the bundle of two", lambda: one.follows_well() == 1)
    two.fed.until("it has the bundles of one", lambda: two.follows_well() == 2)


def test_a_workload_of_each_is_believed_in_the_other(sides: tuple[Side, Side], tmp_path: Path) -> None:
    for here, there in (sides, sides[::-1]):
        there.fed.until("its keys are known there", partial(there.believes, here.token()))
        chain, anchors = here.chain(), there.authorities(here.trust_domain)
        assert check_svid(to_pem(chain), anchors, here.trust_domain, utc_now()) == here.us
        assert openssl_objection(tmp_path, chain, anchors, utc_now()) == ""


def test_whoever_has_the_keys_of_one_speaks_for_nobody_of_the_other(
    sides: tuple[Side, Side], tmp_path: Path
) -> None:
    for thief, there in (sides, sides[::-1]):
        key = keyring.load(thief.state)[0]
        assert there.believes(sign(thief.us, [AUDIENCE], key.signer, utc_now()))
        for victim in (there.us, SpiffeId(there.fed.domain, "/hub"), workload_id(thief.fed.domain, "a", "b")):
            assert not there.believes(sign(victim, [AUDIENCE], key.signer, utc_now()))

        identity, signer = load_identity(thief.state), KeySigner.generate()
        with pytest.raises(Exception, match="name constraints"):
            identity.authority.issue(svid(there.us), signer.public_key(), utc_now())
        own = there.authorities(there.trust_domain)
        assert "unable to get" in openssl_objection(tmp_path, thief.chain(), own, utc_now())
        assert not set(own) & set(there.authorities(thief.trust_domain))


def test_what_one_renews_the_other_knows_before_it_is_used(sides: tuple[Side, Side], tmp_path: Path) -> None:
    here, there = sides
    before, keys = here.chain(), len(keyring.load(here.state))
    answer = here.fed.agent(here.cluster).post("/v1/rotate", {"force": True})
    assert [str(each["name"]) for each in records(answer, "lagging")] == ["trust domains outside"]
    assert len(keyring.load(here.state)) == keys + 1
    there.fed.until("the new issuing CA signs", partial(_signs_anew, here, there, before, tmp_path))
    forthcoming = keyring.load(here.state)[-1]
    assert there.believes(sign(here.us, [AUDIENCE], forthcoming.signer, utc_now()))


def _signs_anew(here: Side, there: Side, before: list[x509.Certificate], folder: Path) -> bool:
    """Whether we have an SVID by another issuing CA than *before*; we are believed each time we look."""
    chain, anchors = here.chain(), there.authorities(here.trust_domain)
    assert openssl_objection(folder, chain, anchors, utc_now()) == ""
    return chain[0].issuer != before[0].issuer
