"""Accounts on the wire."""

from collections.abc import Mapping

from clearing import chart
from clearing.margin.assess import mark_ticks
from clearing.model.commands import LinkAccounts
from clearing.model.house import House, ordered
from clearing.model.ids import AccountKey, ParticipantId, linked_set
from clearing.model.values import AccountKind, AccountStatus
from clearing.server.wire import names, units
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


def answer(command: LinkAccounts, house: House) -> pb.LinkAccountsResponse:
    """How far the link has come in ``house``, the state that the command led to."""
    set_id = linked_set(command.participant)
    linked = all(house.accounts[key].netting_set == set_id for key in command.accounts)
    return pb.LinkAccountsResponse(
        netting_set=names.netting_set(set_id),
        status=pb.LINK_STATUS_LINKED if linked else pb.LINK_STATUS_PROPOSED,
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
