"""Whose a fact is, and what it is called: one table for all tables of the state.

Rules kept here:

1. A table that is not listed concerns nobody: what it says is shown to those alone who see everything.
2. What is about an account is its member's. What is about a netting set is of each member that has an account in it
   when it happens.
3. What everybody is told has a name and figures that say nothing of one member.
4. Withdrawals and the balance of custody are the custodian's as well: that is what it pays.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from clearing.model.house import Change, Put
from clearing.model.ids import (
    AccountKey,
    AssetId,
    DefaultId,
    InstrumentId,
    MemberId,
    RegulatorId,
    SetId,
    SourceId,
    TradeKey,
    member_of,
)
from clearing.model.values import ProposalState
from clearing.server.identity import Identity, Role
from clearing.server.wire import names

CUSTODY = "custody"
"""Owns what the custodian is told of; it is the path of the house's account of custody too."""
LINKED = "link/"
"""How the id of a set of linked accounts begins."""
_AFOOT = (ProposalState.APPROVED, ProposalState.IN_FORCE, ProposalState.LAPSED)

_BESIDES: Mapping[Role, Callable[[str], str]] = {
    Role.CUSTODIAN: lambda _: CUSTODY,
    Role.PRICE_SOURCE: lambda own: names.source(SourceId(own)),
    Role.REGULATOR: lambda own: names.regulator(RegulatorId(own)),
}
"""What a caller of the role owns besides what is of members."""

Members: TypeAlias = Callable[[SetId], Iterable[MemberId]]
"""Gives the members that have an account in a netting set when something happens."""


@dataclass(frozen=True, slots=True)
class Concern:
    """Whom a fact is shown to, and the name of what it is about, empty where the house has one of it."""

    name: str = ""
    owners: frozenset[str] = frozenset()
    is_public: bool = False

    def is_for(self, owners: frozenset[str] | None) -> bool:
        """Whether it concerns one of ``owners``, as :func:`owners_of` gives them."""
        return owners is None or self.is_public or not self.owners.isdisjoint(owners)


Of: TypeAlias = Callable[[str, Any, Members], Concern]
"""The concern of a row, None where it was dropped, under its key."""

NOBODY = Concern()


def of_change(change: Change, members: Members) -> Concern:
    """Whom ``change`` concerns."""
    of = CONCERNS.get(change.table)
    row = change.row if isinstance(change, Put) else None
    return NOBODY if of is None else of(change.key, row, members)


def owners_of(caller: Identity) -> frozenset[str] | None:
    """What stands for ``caller`` among the owners of a fact: the members that it sees, and what is its own besides.
    None for who sees all.
    """
    if caller.members is None:
        return None
    besides = _BESIDES.get(caller.role)
    own = frozenset({besides(caller.id)} if besides is not None else ())
    return own | frozenset(map(names.member, caller.members))


def owner_of_account(path: str) -> str:
    """Whose an account of the ledger is, by its path; empty for those of the house."""
    parts = path.split("/")
    if parts[0] == "members" and len(parts) > 2:
        return names.member(MemberId(parts[1]))
    return CUSTODY if path == CUSTODY else ""


def _public(name: Callable[[str], str]) -> Of:
    return lambda key, row, members: Concern(name(key), is_public=True)


def _hidden(key: str, row: Any, members: Members) -> Concern:
    return NOBODY


def _accounts(name: str, keys: Iterable[str]) -> Concern:
    return Concern(name, frozenset(names.member(member_of(AccountKey(key))) for key in keys))


def _member(key: str, row: Any, members: Members) -> Concern:
    name = names.member(MemberId(key))
    return Concern(name, frozenset({name}))


def _account(key: str, row: Any, members: Members) -> Concern:
    return _accounts(names.account(AccountKey(key)), [key])


def _trade(key: str, row: Any, members: Members) -> Concern:
    return _accounts(names.trade(TradeKey(key)), [key])


def _set(key: str, row: Any, members: Members) -> Concern:
    """A row under the id of a netting set; if it names accounts, their members are concerned too."""
    owners = {names.member(member) for member in members(SetId(key))}
    named = {member_of(one) for one in getattr(row, "accounts", ())} | {*getattr(row, "members", ())}
    return Concern(names.netting_set(SetId(key)), frozenset(owners | {names.member(one) for one in named}))


def _call(key: str, row: Any, members: Members) -> Concern:
    return _set(key.partition("/")[2], None, members)


def _source(key: str, row: Any, members: Members) -> Concern:
    name = names.source(SourceId(key))
    return Concern(name, frozenset({name}))


def _grant(key: str, row: Any, members: Members) -> Concern:
    name = names.regulator(RegulatorId(key))
    return Concern(name, frozenset({name}))


def _observation(key: str, row: Any, members: Members) -> Concern:
    return _source(key.partition("/")[2], row, members)


def _withdrawal(key: str, row: Any, members: Members) -> Concern:
    if row is None:
        return NOBODY
    found = _accounts(names.withdrawal(row.account, key), [row.account])
    return Concern(found.name, found.owners | {CUSTODY})


def _arrival(key: str, row: Any, members: Members) -> Concern:
    return NOBODY if row is None else Concern(names.account(row.account), frozenset({CUSTODY}))


def _due(key: str, row: Any, members: Members) -> Concern:
    default, _, member = key.partition("/")
    return Concern(names.default(DefaultId(default)), frozenset({names.member(MemberId(member))}))


def _bid(key: str, row: Any, members: Members) -> Concern:
    auction, _, account = key.partition("/")
    return _accounts(names.auction(auction), [account])


def _parameters_proposal(key: str, row: Any, members: Members) -> Concern:
    """Until it is approved, a change is the administrators' business."""
    return Concern(is_public=row is not None and row.state in _AFOOT)


def _attestation(key: str, row: Any, members: Members) -> Concern:
    return Concern("" if row is None else names.attestation(row.sequence), is_public=True)


def _instrument(key: str) -> str:
    return "" if key == "*" else names.instrument(InstrumentId(key))


def _unnamed(key: str) -> str:
    return ""


CONCERNS: Mapping[str, Of] = {
    "charter": _public(_unnamed),
    "cycle": _public(_unnamed),
    "capped_period": _public(_unnamed),
    "attestation": _attestation,
    "outage": _public(_unnamed),
    "wound_down": _public(_unnamed),
    "assets": _public(lambda key: names.asset(AssetId(key))),
    "instruments": _public(_instrument),
    "members": _member,
    "accounts": _account,
    "netting_sets": _set,
    "proposals": _set,
    "unlinkings": _set,
    "portings": _set,
    "parameter_proposals": _parameters_proposal,
    "change_proposals": _hidden,
    "breakers": _public(_instrument),
    "trails": _hidden,
    "volume_trails": _hidden,
    "sources": _source,
    "observations": _observation,
    "providers": _account,
    "trades": _trade,
    "halves": _trade,
    "half_refs": _hidden,
    "funding": _public(_instrument),
    "withdrawals": _withdrawal,
    "arrivals": _arrival,
    "calls": _call,
    "liquidations": _set,
    "defaults": _public(lambda key: names.default(DefaultId(key))),
    "assessments": _due,
    "replenishments": _due,
    "non_default_losses": _public(lambda key: names.asset(AssetId(key))),
    "auctions": _public(names.auction),
    "bids": _bid,
    "revocations": _hidden,
    "grants": _grant,
    "daily_moves": _public(str),
    "shadow": _hidden,
    "pull": _hidden,
    "report": _hidden,
    "data_refusals": _public(lambda key: names.source(SourceId(key))),
}
"""Every table of the state (``model/house.py``). A test fails for one that is missing."""
