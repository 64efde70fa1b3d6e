"""Accounts on the wire."""

from collections.abc import Mapping

from clearing import chart
from clearing.margin.assess import mark_ticks
from clearing.model import units
from clearing.model.commands import LinkAccounts, OpenAccount, UnlinkAccounts
from clearing.model.house import House, ordered
from clearing.model.ids import (
    AccountKey,
    ParticipantId,
    SetId,
    account_key,
    linked_set,
    member_of,
    single_set,
)
from clearing.model.kinds import Kind
from clearing.model.outcomes import Outcome
from clearing.model.units import Unit
from clearing.model.values import AccountKind, AccountStatus, LinkProposal
from clearing.server.identity import Identity
from clearing.server.wire import names, times
from clearing.server.wire.violations import require_valid
from clearinghouse.v1 import account_service_pb2 as pb

_KINDS: "Mapping[AccountKind, pb.AccountKind.ValueType]" = {
    AccountKind.HOUSE: pb.ACCOUNT_KIND_HOUSE,
    AccountKind.CLIENT: pb.ACCOUNT_KIND_CLIENT,
}
_STATUSES: "Mapping[AccountStatus, pb.AccountStatus.ValueType]" = {
    AccountStatus.ACTIVE: pb.ACCOUNT_STATUS_ACTIVE,
    AccountStatus.CLOSED_OUT: pb.ACCOUNT_STATUS_CLOSED_OUT,
    AccountStatus.PORTED: pb.ACCOUNT_STATUS_PORTED,
}


def parse(request: pb.LinkAccountsRequest) -> LinkAccounts:
    """The command that ``request`` asks for. Raises ``RequestInvalid`` with every field that is wrong."""
    require_valid(request)
    return LinkAccounts(
        member=names.member_id(request.parent),
        participant=ParticipantId(names.own_id(request.participant)),
        accounts=tuple(names.account_key(name) for name in request.accounts),
    )


def answer(command: LinkAccounts, outcome: Outcome) -> pb.LinkAccountsResponse:
    """How far the link came by the command."""
    set_id = linked_set(command.participant)
    linked = any(
        (told.kind, told.subject) == (Kind.NETTING_SET_LINKED.name, set_id) for told in outcome.events
    )
    return pb.LinkAccountsResponse(
        netting_set=names.netting_set(set_id),
        status=pb.LINK_STATUS_LINKED if linked else pb.LINK_STATUS_PROPOSED,
    )


def parse_opening(request: pb.OpenAccountRequest) -> OpenAccount:
    """The command that ``request`` asks for. Raises ``RequestInvalid`` with every field that is wrong."""
    require_valid(request)
    return OpenAccount(
        member=names.member_id(request.parent),
        account=request.account_id,
        participant=ParticipantId(names.own_id(request.participant)),
    )


def opened(command: OpenAccount) -> pb.OpenAccountResponse:
    """The account that was opened."""
    key = account_key(command.member, command.account)
    return pb.OpenAccountResponse(name=names.account(key), netting_set=names.netting_set(single_set(key)))


def parse_unlinking(request: pb.UnlinkAccountsRequest) -> UnlinkAccounts:
    """The command that ``request`` asks for. Raises ``RequestInvalid`` with every field that is wrong."""
    require_valid(request)
    return UnlinkAccounts(
        member=names.member_id(request.parent), participant=ParticipantId(names.own_id(request.participant))
    )


def noticed(command: UnlinkAccounts, outcome: Outcome, unit: Unit) -> pb.UnlinkAccountsResponse:
    """What the accounts of the member that gave notice lack."""
    told = [
        (AccountKey(one.subject), one.amount_minor)
        for one in outcome.events
        if one.kind == Kind.UNLINKING_NOTICED.name and member_of(AccountKey(one.subject)) == command.member
    ]
    return pb.UnlinkAccountsResponse(
        netting_set=names.netting_set(linked_set(command.participant)),
        shortfalls=[_shortfall(key, amount, unit) for key, amount in told],
    )


def netting_set(set_id: SetId, house: House, caller: Identity) -> pb.NettingSet:
    """A netting set as ``caller`` may see it: of other members' accounts the names."""
    row, notice = house.netting_sets[set_id], house.unlinkings.get(set_id)
    found = pb.NettingSet(
        name=names.netting_set(set_id),
        participant=names.participant(row.participant),
        accounts=[names.account(key) for key in row.accounts],
        linked=set_id == linked_set(row.participant),
    )
    if notice is not None:
        unit = units.of_settlement(house)
        own = (part for part in notice.parts if caller.sees(member_of(part.account)))
        found.unlinking.CopyFrom(
            pb.Unlinking(
                member=names.member(notice.noticed_by),
                notice_time=times.from_ms(notice.noticed_ms),
                due_time=times.from_ms(notice.due_ms),
                shortfalls=[_shortfall(part.account, part.short_minor, unit) for part in own],
            )
        )
    return found


def _shortfall(key: AccountKey, amount_minor: int, unit: Unit) -> pb.AccountShortfall:
    return pb.AccountShortfall(account=names.account(key), amount=unit.render(amount_minor))


def proposal(row: LinkProposal) -> pb.LinkProposal:
    """A link that waits for consent."""
    awaited = sorted({member_of(key) for key in row.accounts} - set(row.accepted_by))
    return pb.LinkProposal(
        netting_set=names.netting_set(row.id),
        participant=names.participant(row.participant),
        accounts=[names.account(key) for key in row.accounts],
        accepted_members=[names.member(member) for member in row.accepted_by],
        awaited_members=[names.member(member) for member in awaited],
    )


def message(key: AccountKey, house: House) -> pb.Account:
    """An account with what it holds."""
    account = house.accounts[key]
    return pb.Account(
        name=names.account(key),
        kind=_KINDS[account.kind],
        status=_STATUSES[account.status],
        participant=names.participant(account.participant),
        netting_set=names.netting_set(account.netting_set),
        cash=units.of_settlement(house).render(house.cash(key)),
        collateral=_collateral(key, house),
        positions=_positions(key, house),
    )


def _collateral(key: AccountKey, house: House) -> list[pb.Collateral]:
    posted = (
        (asset, house.balance(chart.collateral(key, asset.id)))
        for asset in ordered(house.assets)
        if asset.id != house.settlement
    )
    return [
        pb.Collateral(asset=names.asset(asset.id), amount=units.of_asset(asset).render(amount))
        for asset, amount in posted
        if amount
    ]


def _positions(key: AccountKey, house: House) -> list[pb.Position]:
    positions = []
    for instrument_id, lots in sorted(house.positions(key).items()):
        instrument = house.instruments[instrument_id]
        ticks = mark_ticks(house, instrument_id)
        positions.append(
            pb.Position(
                instrument=names.instrument(instrument_id),
                size=units.of_size(instrument).render(lots),
                settlement_price="" if ticks is None else units.of_price(instrument).render(ticks),
            )
        )
    return positions
