"""Which trust domains can be outside, and where their bundles can be."""

import pytest

from clusters.errors import InvalidValue
from clusters.foreign import BundleEndpoint, Profile, outside

URL = "https://bundles.other.example/prod"


def test_an_endpoint_says_who_proves_it() -> None:
    assert BundleEndpoint("other.example", URL).proven_by == ""
    served = BundleEndpoint("west.other.example", URL, Profile.SPIFFE, "spiffe://other.example/hub")
    assert served.proven_by == "other.example"


@pytest.mark.parametrize(
    "url",
    [
        "http://other.example/",
        "https://",
        "https:///bundle",
        "https://user@other.example/",
        "https://user:word@other.example/",
        "https://other.example:0/",
        "https://other.example:x/",
        "https://other.example/a b",
        "https://other.example/\n",
        "https://öther.example/",
        "https://[::1/",
    ],
)
def test_a_url_that_the_specification_does_not_allow_is_refused(url: str) -> None:
    with pytest.raises(InvalidValue):
        BundleEndpoint("other.example", url)


def test_a_password_in_a_url_is_not_repeated() -> None:
    with pytest.raises(InvalidValue) as refused:
        BundleEndpoint("other.example", "https://user:word@other.example/")
    assert "word'" not in str(refused.value)
    assert "user:" not in str(refused.value)


@pytest.mark.parametrize(
    ("profile", "spiffe_id"),
    [
        (Profile.SPIFFE, ""),
        (Profile.SPIFFE, "other.example/hub"),
        (Profile.WEB, "spiffe://other.example/hub"),
    ],
)
def test_a_spiffe_id_belongs_to_https_spiffe(profile: Profile, spiffe_id: str) -> None:
    with pytest.raises(InvalidValue):
        BundleEndpoint("other.example", URL, profile, spiffe_id)


def test_no_domain_of_the_federation_is_outside_of_it() -> None:
    for name in ("other.example", "notfed.example", "example", "fed.example.other"):
        assert outside(name, "fed.example") == name
    for name in ("fed.example", "onprem.fed.example", "a.b.fed.example"):
        with pytest.raises(InvalidValue, match="belongs to this federation"):
            outside(name, "fed.example")
    with pytest.raises(InvalidValue):
        BundleEndpoint("Other.example", URL)
