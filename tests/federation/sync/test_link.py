import pytest

from federation.errors import SyncRefused
from federation.sync.link import Link
from gateway.delta import Catalogue, Request, Resource, Response
from gateway.subscription import Subscription

EXPORT, IMPORT = "export", "import"


def one(kind: str, name: str, version: str) -> Catalogue:
    catalogue = Catalogue()
    catalogue.update(kind, {name: Resource(name, version, version.encode())})
    return catalogue


def test_each_side_tells_what_it_publishes_and_takes_what_the_other_does() -> None:
    agents = Subscription(IMPORT)
    agent = Link(one(EXPORT, "cart", "1"), (EXPORT,), [agents])
    hubs = Subscription(EXPORT, {"gone": "1"})
    hub = Link(one(IMPORT, "catalog", "1"), (IMPORT,), [hubs])

    (asked,) = agent.open()
    (told,) = hub.asked(asked.request)
    assert told.response.changes == {"catalog": b"1"}
    assert hub.asked(agent.applied(told.response, {}).request) == []

    (asked,) = hub.open()
    (told,) = agent.asked(asked.request)
    assert told.response.changes == {"cart": b"1", "gone": None}
    assert agent.asked(hub.applied(told.response, {}).request) == []
    assert (agents.held, hubs.held) == ({"catalog": "1"}, {"cart": "1"})


def test_on_the_next_connection_only_what_changed_is_told() -> None:
    published, taken = one(EXPORT, "cart", "1"), Subscription(EXPORT)
    for version, told in (("1", [{"cart": b"1"}]), ("1", []), ("2", [{"cart": b"2"}])):
        published.update(EXPORT, {"cart": Resource("cart", version, version.encode())})
        agent, hub = Link(published, (EXPORT,), []), Link(Catalogue(), (), [taken])
        (asked,) = hub.open()
        responses = [tell.response for tell in agent.asked(asked.request)]
        assert [response.changes for response in responses] == told
        for response in responses:
            hub.applied(response, {})


def test_what_is_rejected_is_not_told_again_until_it_changes() -> None:
    published = one(EXPORT, "cart", "1")
    agent, hub = Link(published, (EXPORT,), []), Link(Catalogue(), (), [Subscription(EXPORT)])
    published.listen(agent.changed)
    (asked,) = hub.open()
    (told,) = agent.asked(asked.request)
    assert agent.asked(hub.rejected(told.response, "not yours").request) == []
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
    (told,) = agent.asked(hub.open()[0].request)
    assert agent.asked(hub.applied(told.response, {"cart": "too large"}).request) == []
    assert agent.not_taken == {EXPORT: {"cart": "too large"}}
    assert taken.held == {"cart": "0", "db": "1"}
    again = Link(published, (EXPORT,), [])
    assert [tell.response.changes for tell in again.asked(hub.open()[0].request)] == [{"cart": b"1"}]
    published.update(EXPORT, {"cart": Resource("cart", "2", b"2")})
    (told,) = agent.flush()
    agent.asked(hub.applied(told.response, {}).request)
    assert agent.not_taken == {}
