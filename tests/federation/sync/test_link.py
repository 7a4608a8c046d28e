from collections.abc import Sequence

import pytest

from federation.errors import SyncRefused
from federation.sync.frames import Again, Frame, Tell
from federation.sync.link import Link
from gateway.delta import Catalogue, Request, Resource, Response
from gateway.subscription import Subscription
from tests.builders import Remembering

EXPORT, IMPORT = "export", "import"


def one(kind: str, name: str, version: str) -> Catalogue:
    catalogue = Catalogue()
    catalogue.update(kind, {name: Resource(name, version, version.encode())})
    return catalogue


def responses(frames: Sequence[Frame]) -> list[Response]:
    """What is told by *frames*, all of which tell something."""
    assert all(isinstance(frame, Tell) for frame in frames)
    return [frame.response for frame in frames if isinstance(frame, Tell)]


def test_each_side_tells_what_it_publishes_and_takes_what_the_other_does() -> None:
    agents = Subscription(IMPORT)
    agent = Link(one(EXPORT, "cart", "1"), (EXPORT,), [agents])
    hubs = Subscription(EXPORT, {"gone": "1"})
    hub = Link(one(IMPORT, "catalog", "1"), (IMPORT,), [hubs])

    (asked,) = agent.open()
    (told,) = responses(hub.asked(asked.request))
    assert told.changes == {"catalog": b"1"}
    assert hub.asked(agent.applied(told, {}).request) == []

    (asked,) = hub.open()
    (told,) = responses(agent.asked(asked.request))
    assert told.changes == {"cart": b"1", "gone": None}
    assert agent.asked(hub.applied(told, {}).request) == []
    assert (agents.held, hubs.held) == ({"catalog": "1"}, {"cart": "1"})


def test_on_the_next_connection_only_what_changed_is_told() -> None:
    published, taken = one(EXPORT, "cart", "1"), Subscription(EXPORT)
    for version, told in (("1", [{"cart": b"1"}]), ("1", []), ("2", [{"cart": b"2"}])):
        published.update(EXPORT, {"cart": Resource("cart", version, version.encode())})
        agent, hub = Link(published, (EXPORT,), []), Link(Catalogue(), (), [taken])
        (asked,) = hub.open()
        heard = responses(agent.asked(asked.request))
        assert [response.changes for response in heard] == told
        for response in heard:
            hub.applied(response, {})


def test_what_is_rejected_is_not_told_again_until_it_changes() -> None:
    published = one(EXPORT, "cart", "1")
    agent, hub = Link(published, (EXPORT,), []), Link(Catalogue(), (), [Subscription(EXPORT)])
    published.listen(agent.changed)
    (asked,) = hub.open()
    (told,) = responses(agent.asked(asked.request))
    assert agent.asked(hub.rejected(told, "not yours").request) == []
    published.update(EXPORT, {"cart": Resource("cart", "2", b"2")})
    assert [tell.response.changes for tell in agent.flush()] == [{"cart": b"2"}]


def test_a_kind_that_only_a_newer_side_knows_is_passed_over() -> None:
    assert Link(one("secret", "a", "1"), (EXPORT,), []).asked(Request("secret")) == []


def test_nobody_may_tell_what_was_not_asked_for() -> None:
    with pytest.raises(SyncRefused, match="asked for 'secret'"):
        Link(Catalogue(), (), [Subscription(EXPORT)]).told(Response("secret", "1"))


def test_what_alone_is_refused_is_shown_and_told_again_when_it_changes_or_on_the_next_connection() -> None:
    published, taken = one(EXPORT, "cart", "1"), Subscription(EXPORT, {"cart": "0"})
    published.update(EXPORT, {"db": Resource("db", "1", b"1")})
    agent, hub = Link(published, (EXPORT,), []), Link(Catalogue(), (), [taken])
    published.listen(agent.changed)
    (told,) = responses(agent.asked(hub.open()[0].request))
    assert agent.asked(hub.applied(told, {"cart": "too large"}).request) == []
    assert agent.not_taken == {EXPORT: {"cart": "too large"}}
    assert taken.held == {"cart": "0", "db": "1"}
    again = Link(published, (EXPORT,), [])
    assert [told.changes for told in responses(again.asked(hub.open()[0].request))] == [{"cart": b"1"}]
    published.update(EXPORT, {"cart": Resource("cart", "2", b"2")})
    (told,) = responses(agent.flush())
    agent.asked(hub.applied(told, {}).request)
    assert agent.not_taken == {}


def much(version: str) -> dict[str, Resource]:
    """More than is said one by one."""
    return {name: Resource(name, version, version.encode()) for name in map(str, range(200))}


def test_who_has_much_says_so_in_a_word_and_in_full_where_that_is_not_understood() -> None:
    published = Remembering()
    published.update(EXPORT, much("1"))
    taken = Subscription(EXPORT, published.versions(EXPORT))
    published.update(EXPORT, {"7": Resource("7", "2", b"2")})
    asker = Link(Catalogue(), (), [taken], by_digest=True)
    (asked,) = asker.open()
    assert asked.request.digest
    assert not asked.request.initial_versions
    teller = Link(published, (EXPORT,), [])
    (told,) = responses(teller.asked(asked.request))
    assert told.changes == {"7": b"2"}
    assert teller.asked(asked.request) == [Again(EXPORT)]  # it has begun

    forgetful = Catalogue()
    forgetful.update(EXPORT, {**much("1"), "8": Resource("8", "2", b"2")})
    teller = Link(forgetful, (EXPORT,), [])
    assert teller.asked(asked.request) == [Again(EXPORT)]
    (told,) = responses(teller.asked(asker.again(EXPORT).request))
    assert told.changes == {"8": b"2"}
    with pytest.raises(SyncRefused, match="said already"):
        asker.again(EXPORT)


def test_what_is_little_or_is_said_to_an_older_side_is_said_in_full() -> None:
    little, lot = Subscription(EXPORT, {"cart": "1"}), Subscription(IMPORT, dict.fromkeys(much("1"), "1"))
    newer, older = (Link(Catalogue(), (), [little, lot], by_digest=by_digest) for by_digest in (True, False))
    assert [bool(asked.request.digest) for asked in newer.open()] == [False, True]
    assert not any(asked.request.digest for asked in older.open())
