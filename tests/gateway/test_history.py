from hypothesis import given
from hypothesis import strategies as st

from gateway.delta import Catalogue, Resource
from gateway.history import History, digest_of

KIND = "cluster"

worlds = st.dictionaries(st.sampled_from("abcd"), st.sampled_from("12"), max_size=4)


@given(worlds=st.lists(worlds, min_size=1, max_size=8), most=st.integers(min_value=0, max_value=12))
def test_it_knows_what_everything_was_like_or_says_that_it_does_not(
    worlds: list[dict[str, str]], most: int
) -> None:
    catalogue = Catalogue()
    history, was = History(catalogue, KIND, most), list[tuple[str, dict[str, str], int]]()
    changed = 0
    for world in worlds:
        changed += len(catalogue.replace(KIND, {name: Resource(name, v, b"") for name, v in world.items()}))
        assert history.digest == digest_of(world)
        was.append((history.digest, world, changed))
    for digest, world, then in was:
        former = history.since(digest)
        if changed - then <= most:
            assert former is not None
        if former is not None:
            before = {**catalogue.versions(KIND), **former}
            assert {name: version for name, version in before.items() if version is not None} == world


def test_what_was_never_there_is_not_known() -> None:
    catalogue = Catalogue()
    catalogue.update(KIND, {"a": Resource("a", "1", b"")})
    history = History(catalogue, KIND)
    assert history.since(digest_of({"a": "2"})) is None
    assert history.since(digest_of({})) is None
    assert history.since("no digest") is None


def test_other_kinds_do_not_matter() -> None:
    catalogue = Catalogue()
    history = History(catalogue, KIND)
    before = history.digest
    catalogue.update("listener", {"a": Resource("a", "1", b"")})
    assert history.digest == before == digest_of({})
