"""Routes of the ingress: a virtual host for each service port that this cluster runs, and nothing else.

Only these authorities ever lead to a cluster, so that a name that does not exist cannot ask for one. Who may
call comes with the route: a new rule acts on the next call, on open connections too, and cuts nothing.
"""

from collections.abc import Iterable
from typing import Final

from envoy.config.rbac.v3.rbac_pb2 import RBAC as Rules
from envoy.config.rbac.v3.rbac_pb2 import Permission, Policy, Principal
from envoy.config.route.v3.route_components_pb2 import (
    DirectResponseAction,
    RetryPolicy,
    Route,
    RouteAction,
    RouteMatch,
    VirtualHost,
)
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.http.rbac.v3.rbac_pb2 import RBAC, RBACPerRoute
from envoy.type.matcher.v3.regex_pb2 import RegexMatcher
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from google.protobuf.any_pb2 import Any
from google.protobuf.wrappers_pb2 import UInt32Value

from clusters.services import CallerPattern
from gateway import names
from gateway.messages import FOREVER, packed, seconds

READY_PATH: Final = "/readyz"
REVOKED: Final = "fedgate.revoked"
"""The filter that refuses whom the table's head names; it has no rules of its own."""
_RBAC: Final = "envoy.filters.http.rbac"
_CONNECT: Final = RouteMatch(connect_matcher=RouteMatch.ConnectMatcher())

SOON: Final = RetryPolicy.RetryBackOff(base_interval=seconds(0.002), max_interval=seconds(0.02))
"""How long a call waits before it is asked for again."""

# Nothing has been sent yet when a connection fails, so another endpoint can be asked; soon, for the caller's
# gateway has other clusters to ask as well.
_ANOTHER_ENDPOINT: Final = RetryPolicy(
    retry_on="connect-failure",
    num_retries=UInt32Value(value=3),
    retry_back_off=SOON,
)

# The filter chain has let in the caller's trust domain already; gateways are not workloads.
_ANY_WORKLOAD: Final = StringMatcher(safe_regex=RegexMatcher(regex="spiffe://[^/]+/ns/.+"))


def virtual_host(authority: str, cluster: str, allow: Iterable[CallerPattern] | None) -> VirtualHost:
    """Lead *authority* to *cluster*, for those that *allow* names, or any workload if there is none."""
    action = RouteAction(
        cluster=cluster,
        timeout=FOREVER,
        idle_timeout=FOREVER,
        retry_policy=_ANOTHER_ENDPOINT,
        upgrade_configs=[
            RouteAction.UpgradeConfig(
                upgrade_type="CONNECT", connect_config=RouteAction.UpgradeConfig.ConnectConfig()
            )
        ],
    )
    host = VirtualHost(name=authority, domains=[authority], routes=[Route(match=_CONNECT, route=action)])
    host.typed_per_filter_config[_RBAC].CopyFrom(_callers(allow))
    return host


def _callers(allow: Iterable[CallerPattern] | None) -> Any:
    """Rules that let in exactly *allow*, or any workload if there is none."""
    wanted = [_ANY_WORKLOAD]
    if allow is not None:
        wanted = [_matcher(pattern) for pattern in sorted(allow, key=lambda p: p.text)]
    principals = [_authenticated(matcher) for matcher in wanted]
    policies = {}
    if principals:  # Envoy takes no policy without one; without a policy nobody is let in
        policies["callers"] = Policy(permissions=[Permission(any=True)], principals=principals)
    rules = Rules(action=Rules.ALLOW, policies=policies)
    return packed(RBACPerRoute(rbac=RBAC(rules=rules)))


def _exactly(spiffe_id: str) -> Principal:
    return _authenticated(StringMatcher(exact=spiffe_id))


def _authenticated(matcher: StringMatcher) -> Principal:
    """Whoever's certificate says what *matcher* wants."""
    return Principal(authenticated=Principal.Authenticated(principal_name=matcher))


def _matcher(pattern: CallerPattern) -> StringMatcher:
    """Match what *pattern* names. A whole trust domain means its workloads, and not its gateways too."""
    if pattern.is_prefix:
        workloads = names.workload_ids(pattern.literal.removeprefix("spiffe://").partition("/")[0])
        return StringMatcher(prefix=workloads if workloads.startswith(pattern.literal) else pattern.literal)
    return StringMatcher(exact=pattern.literal)


def head(revoked: Iterable[str]) -> RouteConfiguration:
    """What the ingress's table begins with: whoever is *revoked*, by its SPIFFE ID, calls nobody here."""
    begun = RouteConfiguration(name=names.INGRESS)
    if principals := [_exactly(spiffe_id) for spiffe_id in revoked]:
        policy = Policy(permissions=[Permission(any=True)], principals=principals)
        rules = Rules(action=Rules.DENY, policies={"revoked": policy})
        begun.typed_per_filter_config[REVOKED].CopyFrom(packed(RBACPerRoute(rbac=RBAC(rules=rules))))
    return begun


def unknown() -> VirtualHost:
    """What is not a service here: 404 for a call, and an answer for those who ask whether we live."""
    ready = Route(match=RouteMatch(path=READY_PATH), direct_response=DirectResponseAction(status=200))
    call = Route(match=_CONNECT, direct_response=DirectResponseAction(status=404))
    host = VirtualHost(name="unknown", domains=["*"], routes=[ready, call])
    host.typed_per_filter_config[_RBAC].CopyFrom(packed(RBACPerRoute()))
    return host


def table(head: RouteConfiguration, virtual_hosts: Iterable[bytes]) -> Any:
    """A whole table that begins with *head*, put together from virtual hosts that are serialized already.

    A message is the concatenation of its fields, so a change of one host costs no work on the others.
    """
    wrapped = Any()
    wrapped.Pack(RouteConfiguration())
    wrapped.value = b"".join([head.SerializeToString(deterministic=True), *virtual_hosts])
    return wrapped


def serialized(host: VirtualHost) -> bytes:
    """*host* as a field of a table."""
    return RouteConfiguration(virtual_hosts=[host]).SerializeToString(deterministic=True)
