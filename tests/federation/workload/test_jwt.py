"""What the SPIFFE project's own client is given as JWT-SVIDs, and what it is told of others'."""

import asyncio
from dataclasses import replace
from pathlib import Path

import jwt
import pytest
from spiffe import JwtSource, SpiffeId, TrustDomain
from spiffe.workloadapi.errors import FetchJwtBundleError, FetchJwtSvidError, ValidateJwtSvidError

from clusters.jwt_key import JwtKey, JwtKeys
from clusters.keyring import published
from pki.jwk import thumbprint
from pki.jwt_keys import KEY_LIFETIME, SigningKey, tended
from pki.jwt_svid import coordinates, sign
from pki.signer import KeySigner
from pki.spiffe import SpiffeId as PkiSpiffeId
from pki.spiffe import workload_id
from tests.builders import CLOUD, ONPREM, foreign
from tests.federation.workload.desk import HOME, SOMEBODY_ELSE, desk, known_by, until

API = "spiffe://cloud.fed.example/ns/shop/sa/api"
FAR = workload_id("cloud.fed.example", "shop", "report")


async def test_a_workload_is_given_a_token_for_its_audience_that_validates(short_path: Path) -> None:
    async with desk(short_path, known_by("web")) as served:
        svid = await served.ask(lambda client: client.fetch_jwt_svid({API}))
        proven = await served.ask(lambda client: client.validate_jwt_svid(svid.token, API))
        assert str(proven.spiffe_id) == f"spiffe://{HOME}/ns/shop/sa/web"
        with pytest.raises(ValidateJwtSvidError, match="not for 'other'"):
            await served.ask(lambda client: client.validate_jwt_svid(svid.token, "other"))


async def test_a_token_of_a_member_validates_by_the_key_that_the_member_published(short_path: Path) -> None:
    async with desk(short_path, known_by("web")) as served:
        key = SigningKey.new(served.now)
        token = sign(FAR, [API], key.signer, served.now)
        with pytest.raises(ValidateJwtSvidError, match=r"no JWT key of the trust domain cloud\.fed\.example"):
            await served.ask(lambda client: client.validate_jwt_svid(token, API))
        cloud = replace(served.member(CLOUD), jwt_keys=(published(key),))
        served.knows(served.member(ONPREM), cloud)
        proven = await served.ask(lambda client: client.validate_jwt_svid(token, API))
        assert str(proven.spiffe_id) == str(FAR)


async def test_a_token_of_who_was_revoked_validates_nowhere(short_path: Path) -> None:
    async with desk(short_path, known_by("web")) as served:
        key = SigningKey.new(served.now)
        served.knows(replace(served.member(CLOUD), jwt_keys=(published(key),), revoked=("shop/report",)))
        token = sign(FAR, [API], key.signer, served.now)
        with pytest.raises(ValidateJwtSvidError, match=f"{FAR} was revoked"):
            await served.ask(lambda client: client.validate_jwt_svid(token, API))


async def test_a_member_signs_for_nobody_but_its_own(short_path: Path) -> None:
    async with desk(short_path, known_by("web")) as served:
        key = SigningKey.new(served.now)
        served.knows(served.member(ONPREM), replace(served.member(CLOUD), jwt_keys=(published(key),)))
        token = sign(workload_id(HOME, "shop", "web"), [API], key.signer, served.now)
        with pytest.raises(ValidateJwtSvidError, match=rf"the trust domain {HOME} has no JWT key"):
            await served.ask(lambda client: client.validate_jwt_svid(token, API))


async def test_a_key_is_believed_until_its_end(short_path: Path) -> None:
    async with desk(short_path, known_by("web")) as served:
        key = SigningKey.new(served.now)
        served.knows(replace(served.member(CLOUD), jwt_keys=(published(key),)))
        served.now += KEY_LIFETIME
        token = sign(FAR, [API], key.signer, served.now)
        with pytest.raises(ValidateJwtSvidError, match="no JWT key"):
            await served.ask(lambda client: client.validate_jwt_svid(token, API))


async def test_each_trust_domain_has_a_bundle_and_what_is_no_key_spoils_none(short_path: Path) -> None:
    async with desk(short_path, known_by("web")) as served:
        good = published(SigningKey.new(served.now))
        x, _ = coordinates(KeySigner.generate().public_key())
        bad = JwtKey(thumbprint(x, x), x, x, good.expires)  # of no point of the curve
        served.knows(replace(served.member(CLOUD), jwt_keys=(bad, good)))
        bundles = await served.ask(lambda client: client.fetch_jwt_bundles())
        cloud = bundles.get_bundle_for_trust_domain(TrustDomain("cloud.fed.example"))
        home = bundles.get_bundle_for_trust_domain(TrustDomain(HOME))
        assert cloud is not None
        assert home is not None
        assert set(cloud.jwt_authorities) == {good.id}
        token = await served.ask(lambda client: client.fetch_jwt_svid({API}))
        key = home.get_jwt_authority(jwt.get_unverified_header(token.token)["kid"])
        assert key == served.keys[0].signer.public_key()


async def test_a_watcher_knows_the_next_key_before_it_signs(short_path: Path) -> None:
    async with desk(short_path, known_by("web")) as served:
        client = await asyncio.to_thread(served.client)
        source = await asyncio.to_thread(JwtSource, client, timeout_in_seconds=10)

        def known() -> int:
            bundle = source.get_bundle_for_trust_domain(TrustDomain(HOME))
            return len(bundle.jwt_authorities) if bundle else 0

        await until(lambda: known() == 1)
        first = served.keys[0].key_id
        served.now += KEY_LIFETIME * 0.6
        served.keys = tended(served.keys, served.now)
        served.api.follow()
        await until(lambda: known() == 2)
        token = await asyncio.to_thread(source.fetch_svid, {API})
        assert jwt.get_unverified_header(token.token)["kid"] == first
        await asyncio.to_thread(source.close)
        await asyncio.to_thread(client.close)


async def test_a_process_of_several_workloads_has_a_token_of_each_or_of_the_one_it_names(
    short_path: Path,
) -> None:
    async with desk(short_path, known_by("web"), known_by("api")) as served:
        both = await served.ask(lambda client: client.fetch_jwt_svids({"a"}))
        one = SpiffeId(f"spiffe://{HOME}/ns/shop/sa/api")
        named = await served.ask(lambda client: client.fetch_jwt_svids({"a"}, one))
        assert [svid.spiffe_id.path for svid in both] == ["/ns/shop/sa/web", "/ns/shop/sa/api"]
        assert [svid.spiffe_id for svid in named] == [one]
        with pytest.raises(FetchJwtSvidError, match="no workload is known by it"):
            await served.ask(lambda client: client.fetch_jwt_svid({"a"}, SpiffeId(API)))


async def test_who_is_no_workload_is_refused(short_path: Path) -> None:
    async with desk(short_path, known_by("web", SOMEBODY_ELSE)) as served:
        with pytest.raises(FetchJwtSvidError, match="no workload is known by it"):
            await served.ask(lambda client: client.fetch_jwt_svid({"a"}))
        with pytest.raises(FetchJwtBundleError, match="no workload is known by it"):
            await served.ask(lambda client: client.fetch_jwt_bundles())
        with pytest.raises(ValidateJwtSvidError, match="no workload is known by it"):
            await served.ask(lambda client: client.validate_jwt_svid("a.b.c", "a"))


async def test_requests_that_make_no_sense_are_refused(short_path: Path) -> None:
    async with desk(short_path, known_by("web")) as served:
        with pytest.raises(FetchJwtSvidError, match="want 1 to 16 audiences"):
            await served.ask(lambda client: client.fetch_jwt_svid({str(n) for n in range(17)}))
        with pytest.raises(FetchJwtSvidError, match="want 1 to 16 audiences"):
            await served.ask(lambda client: client.fetch_jwt_svid({"x" * 2000}))
        with pytest.raises(ValidateJwtSvidError, match="not a JWT"):
            await served.ask(lambda client: client.validate_jwt_svid("a.b.c", "a"))


async def test_without_a_key_there_is_no_token_yet(short_path: Path) -> None:
    async with desk(short_path, known_by("web")) as served:
        served.keys = ()
        with pytest.raises(FetchJwtSvidError, match="no key yet"):
            await served.ask(lambda client: client.fetch_jwt_svid({"a"}))


async def test_a_token_from_outside_validates_by_the_bundle_of_its_domain_and_for_no_other(
    short_path: Path,
) -> None:
    async with desk(short_path, known_by("web")) as served:
        key = SigningKey.new(served.now)
        keys = JwtKeys("other", (published(key),))
        served.trusts(foreign("other.example", served.pki.root_pem, jwt=keys))
        theirs, ours = SpiffeId("spiffe://other.example/app"), workload_id(HOME, "shop", "web")
        token = sign(PkiSpiffeId.parse(str(theirs)), [API], key.signer, served.now)
        proven = await served.ask(lambda client: client.validate_jwt_svid(token, API))
        assert proven.spiffe_id == theirs
        bundles = await served.ask(lambda client: client.fetch_jwt_bundles())
        assert bundles.get_bundle_for_trust_domain(TrustDomain("other.example")) is not None
        forged = sign(ours, [API], key.signer, served.now)
        with pytest.raises(ValidateJwtSvidError, match=rf"the trust domain {HOME} has no JWT key"):
            await served.ask(lambda client: client.validate_jwt_svid(forged, API))
