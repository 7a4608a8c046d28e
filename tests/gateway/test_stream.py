import tracemalloc
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.delta import WILDCARD, Catalogue, Request, Resource, Response
from gateway.history import digest_of
from gateway.stream import Order, Stream
from gateway.subscription import Subscription
from tests.builders import Remembering

CLUSTER, ENDPOINT, LISTENER, SECRET = "cluster", "endpoint", "listener", "secret"
ORDER = Order(
    kinds=(CLUSTER, ENDPOINT, LISTENER),
    companions={CLUSTER: ENDPOINT},
    referrers={CLUSTER: (ENDPOINT, LISTENER)},
    on_demand={CLUSTER: ("vip|",)},
)


def catalogue(kind: str = CLUSTER, **versions: str) -> Catalogue:
    """A catalogue of one kind, each resource with a version."""
    filled = Catalogue()
    put(filled, kind, **versions)
    return filled


def put(catalogue: Catalogue, kind: str = CLUSTER, **versions: str) -> None:
    catalogue.update(kind, {name: Resource(name, version, b"body") for name, version in versions.items()})


def remove(catalogue: Catalogue, *names: str, kind: str = CLUSTER) -> None:
    catalogue.update(kind, dict.fromkeys(names))


def stream(catalogue: Catalogue, *, max_names: int = 100, max_response_bytes: int = 1000) -> Stream:
    """A stream that hears of every change."""
    opened = Stream(catalogue, ORDER, max_names=max_names, max_response_bytes=max_response_bytes)
    catalogue.listen(opened.changed)
    return opened


def ask(*names: str, kind: str = CLUSTER) -> Request:
    return Request(kind, subscribe=names)


def ack(response: Response) -> Request:
    return Request(response.kind, nonce=response.nonce)


def nack(response: Response, error: str = "no such filter") -> Request:
    return Request(response.kind, nonce=response.nonce, error=error)


def said(responses: Iterable[Response]) -> list[str]:
    """What responses say, in a line each: `cluster +a@1 -b`."""
    return [
        " ".join(
            [r.kind, *(f"+{x.name}@{x.version}" for x in r.resources), *(f"-{name}" for name in r.removed)]
        )
        for r in responses
    ]


# --- subscribing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [(), (WILDCARD,)])
def test_who_asks_for_no_name_or_for_the_wildcard_gets_everything(names: tuple[str, ...]) -> None:
    assert said(stream(catalogue(a="1", b="1")).receive(ask(*names))) == ["cluster +a@1 +b@1"]


@pytest.mark.parametrize("names", [(), (WILDCARD,)])
def test_who_asks_for_everything_is_answered_also_when_there_is_nothing(names: tuple[str, ...]) -> None:
    assert said(stream(Catalogue()).receive(ask(*names))) == ["cluster"]


def test_who_asks_for_a_name_gets_that_and_hears_of_no_other() -> None:
    served = catalogue(a="1", b="1")
    client = stream(served)
    (sent,) = client.receive(ask("a"))
    assert said([sent]) == ["cluster +a@1"]
    assert client.receive(ack(sent)) == []
    put(served, b="2")
    assert client.flush() == []


def test_a_name_that_does_not_exist_is_answered_at_once_and_sent_when_it_is_born() -> None:
    served = Catalogue()
    client = stream(served)
    (sent,) = client.receive(ask("late"))
    assert said([sent]) == ["cluster -late"]
    assert client.receive(ack(sent)) == []
    put(served, late="1")
    assert said(client.flush()) == ["cluster +late@1"]


def test_a_name_born_before_its_absence_was_acknowledged_is_sent_after_that() -> None:
    served = Catalogue()
    client = stream(served)
    (sent,) = client.receive(ask("late"))
    put(served, late="1")
    assert client.flush() == []
    assert said(client.receive(ack(sent))) == ["cluster +late@1"]


def test_asking_again_for_a_name_sends_it_again() -> None:
    client = stream(catalogue(a="1"))
    (sent,) = client.receive(ask("a"))
    client.receive(ack(sent))
    assert said(client.receive(ask("a"))) == ["cluster +a@1"]


def test_asking_again_while_the_first_answer_is_under_way_still_sends_it_again() -> None:
    client = stream(catalogue(a="1"))
    (sent,) = client.receive(ask("a"))
    assert client.receive(ask("a")) == []
    assert said(client.receive(ack(sent))) == ["cluster +a@1"]


def test_a_name_that_is_no_longer_wanted_is_not_sent() -> None:
    served = catalogue(a="1")
    client = stream(served)
    (sent,) = client.receive(ask("a"))
    client.receive(Request(CLUSTER, unsubscribe=("a",), nonce=sent.nonce))
    put(served, a="2")
    assert client.flush() == []
    assert client.status()[CLUSTER].subscribed == 0


@pytest.mark.parametrize("error", ["", "no such filter"])
def test_the_answer_for_a_name_that_is_no_longer_wanted_leaves_nothing_behind(error: str) -> None:
    client = stream(catalogue(a="1", b="1", c="1"))
    (sent,) = client.receive(ask("a", "b", "c"))
    client.receive(Request(CLUSTER, unsubscribe=("a", "b")))
    again = client.receive(Request(CLUSTER, nonce=sent.nonce, error=error))
    assert said(again) == []
    status = client.status()[CLUSTER]
    assert (status.held, status.rejected) == ((0, {"c": error}) if error else (1, {}))


def test_a_name_dropped_under_a_wildcard_is_sent_again_as_the_wildcard_covers_it() -> None:
    client = stream(catalogue(a="1"))
    (sent,) = client.receive(ask(WILDCARD, "a"))
    client.receive(ack(sent))
    assert said(client.receive(Request(CLUSTER, unsubscribe=("a",)))) == ["cluster +a@1"]


def test_everything_does_not_mean_what_comes_on_demand() -> None:
    held = catalogue(**{"a": "1", "vip|x": "1", "vip|y": "1"})
    opened = stream(held)
    (first,) = opened.receive(ask())
    assert said([first]) == ["cluster +a@1"]
    opened.receive(ack(first))
    (asked,) = opened.receive(ask("vip|x"))
    assert said([asked]) == ["cluster +vip|x@1"]
    opened.receive(ack(asked))
    put(held, **{"a": "2", "vip|x": "2", "vip|y": "2"})
    (changed,) = opened.flush()
    assert said([changed]) == ["cluster +a@2 +vip|x@2"]
    opened.receive(ack(changed))
    assert opened.receive(Request(CLUSTER, unsubscribe=("vip|x",))) == []
    put(held, **{"vip|x": "3"})
    assert opened.flush() == []


def test_leaving_the_wildcard_keeps_the_names_that_were_asked_for() -> None:
    served = catalogue(a="1", b="1")
    client = stream(served)
    (sent,) = client.receive(ask(WILDCARD, "a"))
    client.receive(Request(CLUSTER, unsubscribe=(WILDCARD,), nonce=sent.nonce))
    put(served, a="2", b="2")
    assert said(client.flush()) == ["cluster +a@2"]


def test_a_flood_of_unknown_names_is_answered_and_forgotten() -> None:
    served = catalogue(known="1")
    client = stream(served, max_names=2)
    (sent,) = client.receive(ask("x", "y"))
    (sent,) = client.receive(Request(CLUSTER, subscribe=("z", "known"), nonce=sent.nonce))
    assert said([sent]) == ["cluster +known@1 -z"]
    assert client.receive(ack(sent)) == []
    status = client.status()[CLUSTER]
    assert (status.subscribed, status.refused) == (3, 1)
    put(served, y="1", z="1")
    assert said(client.flush()) == ["cluster +y@1"]


# --- what changes -----------------------------------------------------------------------------------


def test_a_change_is_sent_and_what_goes_away_is_said_to_be_gone() -> None:
    served = catalogue(a="1", b="1")
    client = stream(served)
    (sent,) = client.receive(ask())
    client.receive(ack(sent))
    put(served, a="2")
    remove(served, "b")
    assert said(client.flush()) == ["cluster +a@2 -b"]


def test_an_equal_version_is_not_sent() -> None:
    served = catalogue(a="1")
    client = stream(served)
    (sent,) = client.receive(ask())
    client.receive(ack(sent))
    assert served.update(CLUSTER, {"a": Resource("a", "1", b"body")}) == set()
    assert client.flush() == []


def test_what_changes_while_an_answer_is_awaited_is_sent_once_in_its_newest_version() -> None:
    served = catalogue(a="1")
    client = stream(served)
    (sent,) = client.receive(ask())
    for version in ("2", "3", "4"):
        put(served, a=version)
        assert client.flush() == []
    assert said(client.receive(ack(sent))) == ["cluster +a@4"]


def test_what_comes_and_goes_while_an_answer_is_awaited_is_never_mentioned() -> None:
    served = catalogue(a="1")
    client = stream(served)
    (sent,) = client.receive(ask())
    put(served, brief="1")
    remove(served, "brief")
    assert client.receive(ack(sent)) == []
    assert client.standing.name == "SYNCED"


def test_a_response_stays_below_its_limit_and_the_rest_follows() -> None:
    client = stream(catalogue(a="1", b="1", c="1"), max_response_bytes=9)
    (sent,) = client.receive(ask())
    assert said([sent]) == ["cluster +a@1 +b@1"]
    assert said(client.receive(ack(sent))) == ["cluster +c@1"]


def test_a_resource_above_the_limit_is_sent_alone() -> None:
    served = catalogue(b="1")
    served.update(CLUSTER, {"a": Resource("a", "1", bytes(5000))})
    client = stream(served, max_response_bytes=100)
    assert said(client.receive(ask())) == ["cluster +a@1"]


# --- answers ----------------------------------------------------------------------------------------


def test_a_rejected_version_is_not_sent_again_but_the_next_one_is() -> None:
    served = catalogue(a="1")
    client = stream(served)
    (sent,) = client.receive(ask())
    assert client.receive(nack(sent)) == []
    assert client.flush() == []
    assert client.standing.name == "NACK"
    assert client.status()[CLUSTER].rejected == {"a": "no such filter"}
    put(served, a="2")
    put(served, a="1")
    assert client.flush() == []
    put(served, a="2")
    (sent,) = client.flush()
    assert said([sent]) == ["cluster +a@2"]
    client.receive(ack(sent))
    assert client.standing.name == "SYNCED"


def test_a_reason_is_kept_at_a_bearable_length() -> None:
    client = stream(catalogue(a="1"))
    (sent,) = client.receive(ask())
    client.receive(nack(sent, "x" * 1_000_000))
    assert client.status()[CLUSTER].rejected == {"a": "x" * 1000}


def test_after_a_rejection_the_last_good_version_counts_as_held() -> None:
    served = catalogue(a="1")
    client = stream(served)
    (sent,) = client.receive(ask())
    client.receive(ack(sent))
    put(served, a="2")
    (sent,) = client.flush()
    client.receive(nack(sent))
    put(served, a="1")
    assert client.flush() == []
    assert client.standing.name == "SYNCED"


def test_a_rejected_resource_that_goes_away_leaves_no_complaint_behind() -> None:
    served = catalogue(a="1")
    client = stream(served)
    (sent,) = client.receive(ask())
    client.receive(nack(sent))
    remove(served, "a")
    assert client.flush() == []
    assert client.standing.name == "SYNCED"


def test_a_rejected_resource_that_goes_away_is_said_to_be_gone_to_who_asked_for_it_by_name() -> None:
    served = catalogue(a="1")
    client = stream(served)
    (sent,) = client.receive(ask("a"))
    client.receive(nack(sent))
    remove(served, "a")
    (sent,) = client.flush()
    assert said([sent]) == ["cluster -a"]
    client.receive(ack(sent))
    assert client.standing.name == "SYNCED"


def test_one_bad_resource_among_many_is_found_and_keeps_nothing_good_from_arriving() -> None:
    names = [f"r{i:02}" for i in range(20)]
    served = catalogue(**dict.fromkeys(names, "1"))
    client = stream(served)
    responses, accepted = client.receive(ask()), set[str]()
    while responses:
        (sent,) = responses
        if "r13" in sent.versions:
            responses = client.receive(nack(sent, "bad"))
        else:
            accepted |= sent.versions.keys()
            responses = client.receive(ack(sent))
    assert accepted == set(names) - {"r13"}
    assert client.status()[CLUSTER].rejected == {"r13": "bad"}


@pytest.mark.parametrize("error", ["", "no such filter"])
def test_an_answer_to_an_older_response_counts_for_nothing_but_its_names_do(error: str) -> None:
    served = catalogue(a="1", b="1")
    client = stream(served)
    (first,) = client.receive(ask("a"))
    client.receive(ack(first))
    put(served, a="2")
    (second,) = client.flush()
    stale = Request(CLUSTER, subscribe=("b",), nonce=first.nonce, error=error)
    assert client.receive(stale) == []
    assert client.standing.name == "STALE"
    assert said(client.receive(ack(second))) == ["cluster +b@1"]


# --- coming back ------------------------------------------------------------------------------------


def test_who_comes_back_gets_only_what_changed_and_hears_of_what_is_gone() -> None:
    client = stream(catalogue(same="1", newer="2", born="1"))
    back = Request(CLUSTER, initial_versions={"same": "1", "newer": "1", "gone": "1"})
    assert said(client.receive(back)) == ["cluster +born@1 +newer@2 -gone"]


def test_who_comes_back_up_to_date_gets_nothing() -> None:
    client = stream(catalogue(a="1"))
    assert client.receive(Request(CLUSTER, initial_versions={"a": "1"})) == []
    assert client.standing.name == "SYNCED"


def test_who_comes_back_by_name_gets_only_what_changed_of_those_names() -> None:
    served = catalogue(same="1", newer="2", other="1")
    client = stream(served)
    versions = {"same": "1", "newer": "1", "gone": "1", "unasked": "1"}
    back = Request(CLUSTER, subscribe=("same", "newer", "gone", "never"), initial_versions=versions)
    (sent,) = client.receive(back)
    assert said([sent]) == ["cluster +newer@2 -gone -never"]
    client.receive(ack(sent))
    put(served, gone="2")
    assert said(client.flush()) == ["cluster +gone@2"]


# --- kinds together -----------------------------------------------------------------------------------


def both(**versions: str) -> Catalogue:
    """Clusters and, by the same names and versions, their endpoints."""
    filled = catalogue(CLUSTER, **versions)
    put(filled, ENDPOINT, **versions)
    return filled


def test_kinds_go_out_in_order_however_they_were_set() -> None:
    served = Catalogue()
    client = stream(served)
    kinds = (SECRET, LISTENER, ENDPOINT, CLUSTER)
    for kind in kinds:
        (sent,) = client.receive(ask("a", kind=kind))
        client.receive(ack(sent))
    for kind in kinds:
        put(served, kind, a="1")
    assert [r.kind for r in client.flush()] == [CLUSTER, ENDPOINT, LISTENER, SECRET]


def test_a_cluster_that_is_sent_again_has_its_endpoints_sent_again() -> None:
    served = both(a="1", b="1")
    client = stream(served)
    for request in (ask("a", "b"), ask("a", "b", kind=ENDPOINT)):
        (sent,) = client.receive(request)
        client.receive(ack(sent))
    put(served, a="2")
    assert said(client.flush()) == ["cluster +a@2", "endpoint +a@1"]


def test_endpoints_under_way_when_their_cluster_is_sent_again_follow_once_more() -> None:
    served = both(a="1")
    client = stream(served)
    (sent,) = client.receive(ask("a"))
    client.receive(ack(sent))
    (endpoints,) = client.receive(ask("a", kind=ENDPOINT))
    put(served, a="2")
    assert said(client.flush()) == ["cluster +a@2"]
    assert said(client.receive(ack(endpoints))) == ["endpoint +a@1"]


def test_who_comes_back_gets_held_endpoints_again_for_a_cluster_that_changed_meanwhile() -> None:
    client = stream(both(a="2", b="1"))
    back = Request(CLUSTER, subscribe=("a", "b"), initial_versions={"a": "1", "b": "1"})
    assert said(client.receive(back)) == ["cluster +a@2"]
    back = Request(ENDPOINT, subscribe=("a", "b"), initial_versions={"a": "2", "b": "1"})
    assert said(client.receive(back)) == ["endpoint +a@2"]


def test_a_cluster_goes_away_only_after_what_referred_to_it_has_been_taken() -> None:
    served = catalogue(CLUSTER, a="1")
    put(served, LISTENER, all="1")
    client = stream(served)
    for request in (ask(), ask(kind=LISTENER)):
        (sent,) = client.receive(request)
        client.receive(ack(sent))
    remove(served, "a")
    put(served, LISTENER, all="2")
    (listener,) = client.flush()
    assert said([listener]) == ["listener +all@2"]
    assert client.flush() == []
    assert said(client.receive(ack(listener))) == ["cluster -a"]


def test_a_name_asked_for_is_said_to_be_absent_whatever_else_is_under_way() -> None:
    client = stream(catalogue(LISTENER, all="1"))
    client.receive(ask(kind=LISTENER))
    assert said(client.receive(ask("late"))) == ["cluster -late"]


def test_a_referrer_that_turns_out_unchanged_holds_up_no_removal() -> None:
    served = catalogue(CLUSTER, a="1")
    put(served, LISTENER, all="1")
    client = stream(served)
    for request in (ask(), ask(kind=LISTENER)):
        (sent,) = client.receive(request)
        client.receive(ack(sent))
    put(served, LISTENER, all="2")
    put(served, LISTENER, all="1")
    remove(served, "a")
    assert said(client.flush()) == ["cluster -a"]


# --- the two halves together ---------------------------------------------------------------------------

versions = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("123"), max_size=6)


@settings(max_examples=200)
@given(rounds=st.lists(st.tuples(versions, st.booleans(), st.booleans()), max_size=12))
def test_whatever_happens_on_the_way_the_client_ends_up_with_the_catalogue(
    rounds: list[tuple[dict[str, str], bool, bool]],
) -> None:
    """Each round changes the catalogue; the client may be slow to answer, and the connection may break."""
    served = Catalogue()
    subscription = Subscription(CLUSTER)
    client = stream(served, max_response_bytes=9)
    waiting = client.receive(subscription.open())
    for content, answers, breaks in rounds:
        served.replace(CLUSTER, {name: Resource(name, version, b"body") for name, version in content.items()})
        if breaks:
            client = stream(served, max_response_bytes=9)
            waiting = client.receive(subscription.open())
        else:
            waiting += client.flush()
        if answers and waiting:
            waiting += client.receive(subscription.accept(waiting.pop(0)))
    while waiting:
        waiting += client.receive(subscription.accept(waiting.pop(0)))
    there = (served.get(CLUSTER, name) for name in served.names(CLUSTER))
    assert subscription.held == {resource.name: resource.version for resource in there if resource}
    assert client.standing.name == "SYNCED"


def test_a_subscription_that_rejects_keeps_what_it_had() -> None:
    subscription = Subscription(CLUSTER, {"a": "1"})
    response = Response(CLUSTER, "7", (Resource("a", "2", b""),), ("b",))
    assert subscription.reject(response, "") == Request(CLUSTER, nonce="7", error="rejected without a reason")
    assert subscription.held == {"a": "1"}


def test_replacing_a_kind_says_what_came_what_changed_and_what_went() -> None:
    served = catalogue(same="1", newer="1", gone="1")
    wanted = {name: Resource(name, v, b"") for name, v in {"same": "1", "newer": "2", "born": "1"}.items()}
    assert served.replace(CLUSTER, wanted) == {"newer", "born", "gone"}
    assert served.names(CLUSTER) == wanted.keys()


def test_who_stopped_listening_hears_no_more() -> None:
    served, heard = Catalogue(), list[str]()
    stop = served.listen(lambda kind, names: heard.extend(names))
    put(served, a="1")
    stop()
    put(served, b="1")
    assert heard == ["a"]


# --- who has everything -------------------------------------------------------------------------------


def back(**versions: str) -> Request:
    """Somebody who was here before, and has these."""
    return Request(CLUSTER, initial_versions=versions)


def test_who_comes_back_with_everything_is_told_nothing_and_then_what_changes() -> None:
    served = catalogue(a="1", b="1", c="1")
    client = stream(served)
    assert client.receive(back(a="1", b="1", c="1")) == []
    put(served, b="2")
    remove(served, "c")
    (sent,) = client.flush()
    assert said([sent]) == ["cluster +b@2 -c"]
    assert client.receive(ack(sent)) == []
    assert client.status()[CLUSTER].held == 2
    put(served, c="3")
    assert said(client.flush()) == ["cluster +c@3"]


def test_who_has_everything_takes_no_memory_for_what_it_was_told_since() -> None:
    tracemalloc.start()
    try:
        served = catalogue()
        client = Stream(served, max_response_bytes=1 << 20)
        stop = served.listen(client.changed)
        (greeting,) = client.receive(ask())
        client.receive(ack(greeting))
        put(served, **{f"service-{n}": "1" for n in range(5_000)})
        (sent,) = client.flush()
        client.receive(ack(sent))
        with_it = tracemalloc.get_traced_memory()[0]
        stop()
        del client, stop
        assert with_it - tracemalloc.get_traced_memory()[0] < 50_000
    finally:
        tracemalloc.stop()


def test_who_comes_back_with_less_with_more_and_with_older_is_told_just_that() -> None:
    client = stream(catalogue(a="1", b="2", c="1"))
    assert said(client.receive(back(a="1", b="1", gone="1"))) == ["cluster +b@2 +c@1 -gone"]


def test_who_has_everything_may_go_on_with_some_of_it_alone() -> None:
    served = catalogue(a="1", b="1")
    client = stream(served)
    client.receive(back(a="1", b="1"))
    (sent,) = client.receive(ask("a"))
    client.receive(ack(sent))
    client.receive(Request(CLUSTER, unsubscribe=(WILDCARD,)))
    put(served, a="2", b="2")
    assert said(client.flush()) == ["cluster +a@2"]
    assert client.held(CLUSTER, "") == {"a": "1"}


def test_what_is_born_and_gone_before_it_is_told_of_is_never_told_of() -> None:
    served = catalogue(a="1")
    client = stream(served)
    client.receive(back(a="1"))
    put(served, b="1")
    remove(served, "b")
    assert client.flush() == []


few = st.dictionaries(st.sampled_from("ab"), st.sampled_from("12"), max_size=2)


@settings(max_examples=400)
@given(
    rounds=st.lists(
        st.tuples(
            few, st.sampled_from(("waits", "accepts", "rejects", "accepts and asks for more", "breaks"))
        ),
        min_size=3,
        max_size=8,
    )
)
def test_whatever_the_client_answers_it_ends_up_with_the_catalogue(
    rounds: list[tuple[dict[str, str], str]],
) -> None:
    """It begins with everything that there is, so that nothing needs to be noted of what it has.

    It comes back with a word for what it has, or in full where that is not understood.
    """
    served = Remembering(CLUSTER, most=3)
    put(served, a="1", b="1")
    has = {"a": "1", "b": "1"}
    client = stream(served, max_response_bytes=9)
    waiting = client.receive(back(**has))

    def answers(how: str) -> None:
        response = waiting.pop(0)
        more = ("vip|1",) if how == "accepts and asks for more" else ()
        if how != "rejects":
            for name, version in response.versions.items():
                has.pop(name, None)
                if version is not None:
                    has[name] = version
        error = "no" if how == "rejects" else ""
        waiting.extend(client.receive(Request(CLUSTER, subscribe=more, nonce=response.nonce, error=error)))

    if any(how == "rejects" for _, how in rounds):  # what was rejected is told again when it is another
        rounds = [*rounds, ({"a": "9", "b": "9"}, "accepts")]
    for content, how in rounds:
        served.replace(CLUSTER, {name: Resource(name, version, b"body") for name, version in content.items()})
        if how == "breaks":
            client = stream(served, max_response_bytes=9)
            resumed = client.resume(CLUSTER, digest_of(has))
            waiting = client.receive(back(**has)) if resumed is None else resumed
        else:
            waiting.extend(client.flush())
        if how not in ("waits", "breaks") and waiting:
            answers(how)
    while waiting:
        answers("accepts")
    assert has == client.held(CLUSTER, "") == dict(served.versions(CLUSTER))
