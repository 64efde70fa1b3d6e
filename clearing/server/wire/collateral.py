"""Money and collateral on the wire."""

from collections.abc import Mapping

from clearing.default.dues import DueKind, Owed
from clearing.model import units
from clearing.model.commands import (
    ContributeToPool,
    Deposit,
    FundHouse,
    HouseMoney,
    MoveCash,
    PayDue,
    RecordRecovery,
    ReplaceLostAsset,
    RequestWithdrawal,
    SendWithdrawal,
    SettleWithdrawal,
)
from clearing.model.decimal import DecimalRefused
from clearing.model.house import House
from clearing.model.ids import AccountKey, AssetId, DefaultId, MemberId
from clearing.model.kinds import Kind
from clearing.model.outcomes import Event, Outcome
from clearing.model.units import Unit
from clearing.model.values import Withdrawal, WithdrawalState
from clearing.server.wire import names, times
from clearing.server.wire.violations import Violations, require_valid
from clearinghouse.v1 import collateral_service_pb2 as pb

STATES: "Mapping[WithdrawalState, pb.WithdrawalState.ValueType]" = {
    WithdrawalState.HELD: pb.WITHDRAWAL_STATE_HELD,
    WithdrawalState.SENT: pb.WITHDRAWAL_STATE_SENT,
    WithdrawalState.PAID: pb.WITHDRAWAL_STATE_PAID,
    WithdrawalState.RELEASED: pb.WITHDRAWAL_STATE_RELEASED,
}
_DUES: "Mapping[DueKind, pb.DueKind.ValueType]" = {
    DueKind.ANSWER: pb.DUE_KIND_ANSWER,
    DueKind.ASSESSMENT: pb.DUE_KIND_ASSESSMENT,
    DueKind.REPLENISHMENT: pb.DUE_KIND_REPLENISHMENT,
}
_PAID: "Mapping[str, pb.DueKind.ValueType]" = {
    Kind.ANSWER_PAID.name: pb.DUE_KIND_ANSWER,
    Kind.ASSESSMENT_PAID.name: pb.DUE_KIND_ASSESSMENT,
    Kind.REPLENISHMENT_PAID.name: pb.DUE_KIND_REPLENISHMENT,
}
"""The events that tell a payment; each is about ``default member`` or ``default/member``."""


# commands ---------------------------------------------------------------------------------------------


def parse_deposit(request: pb.NotifyDepositRequest, house: House) -> Deposit:
    """The command that ``request`` asks for. Raises ``RequestInvalid`` with every field that is wrong."""
    violations = Violations(request)
    asset = AssetId(names.own_id(request.asset))
    amount_minor = _amount_of(asset, request.amount, house, violations)
    violations.require_none()
    return Deposit(
        account=names.account_key(request.account),
        asset=asset,
        amount_minor=amount_minor,
        reference=request.reference,
    )


def parse_withdrawal(request: pb.RequestWithdrawalRequest, house: House) -> RequestWithdrawal:
    """The command that ``request`` asks for. Raises ``RequestInvalid`` with every field that is wrong."""
    violations = Violations(request)
    asset = AssetId(names.own_id(request.asset))
    amount_minor = _amount_of(asset, request.amount, house, violations)
    violations.require_none()
    key = names.account_key(request.account)
    return RequestWithdrawal(
        withdrawal=_withdrawal_id(key, request.withdrawal_id),
        account=key,
        asset=asset,
        amount_minor=amount_minor,
    )


def parse_sending(request: pb.SendWithdrawalRequest, house: House) -> SendWithdrawal:
    """The command that ``request`` asks for. Raises ``RequestInvalid`` with every field that is wrong."""
    require_valid(request)
    return SendWithdrawal(withdrawal=withdrawal_id(request.name, house))


def parse_settling(request: pb.SettleWithdrawalRequest, house: House) -> SettleWithdrawal:
    """The command that ``request`` asks for. Raises ``RequestInvalid`` with every field that is wrong."""
    require_valid(request)
    return SettleWithdrawal(withdrawal=withdrawal_id(request.name, house), paid=request.paid)


def parse_move(request: pb.MoveCashRequest, house: House) -> MoveCash:
    """The command that ``request`` asks for. Raises ``RequestInvalid`` with every field that is wrong."""
    violations = Violations(request)
    amount_minor = _amount(units.of_settlement(house), request.amount, violations)
    violations.require_none()
    return MoveCash(
        member=names.member_id(request.source),
        source=names.account_key(request.source),
        target=names.account_key(request.target),
        amount_minor=amount_minor,
    )


def parse_contribution(request: pb.ContributeToPoolRequest, house: House) -> ContributeToPool:
    """The command that ``request`` asks for. Raises ``RequestInvalid`` with every field that is wrong."""
    violations = Violations(request)
    amount_minor = _amount(units.of_settlement(house), request.amount, violations)
    violations.require_none()
    return ContributeToPool(member=names.member_id(request.parent), amount_minor=amount_minor)


def parse_payment(request: pb.PayDuesRequest) -> PayDue:
    """The command that ``request`` asks for. Raises ``RequestInvalid`` with every field that is wrong."""
    require_valid(request)
    return PayDue(member=names.member_id(request.parent))


def parse_funding(request: pb.FundHouseRequest, house: House) -> FundHouse:
    """The command that ``request`` asks for. Raises ``RequestInvalid`` with every field that is wrong."""
    violations = Violations(request)
    amount_minor = _amount(units.of_settlement(house), request.amount, violations)
    violations.require_none()
    return FundHouse(into=HouseMoney(names.own_id(request.fund)), amount_minor=amount_minor)


def parse_recovery(request: pb.RecordRecoveryRequest, house: House) -> RecordRecovery:
    """The command that ``request`` asks for. Raises ``RequestInvalid`` with every field that is wrong."""
    violations = Violations(request)
    amount_minor = _amount(units.of_settlement(house), request.amount, violations)
    violations.require_none()
    return RecordRecovery(default=DefaultId(names.own_id(request.default)), amount_minor=amount_minor)


def parse_replacement(request: pb.ReplaceLostAssetRequest, house: House) -> ReplaceLostAsset:
    """The command that ``request`` asks for. Raises ``RequestInvalid`` with every field that is wrong."""
    violations = Violations(request)
    asset = AssetId(names.own_id(request.asset))
    amount_minor = _amount_of(asset, request.amount, house, violations)
    violations.require_none()
    return ReplaceLostAsset(asset=asset, amount_minor=amount_minor)


def withdrawal_id(name: str, house: House) -> str:
    """The id under which the house knows a withdrawal: under its account, or a bare one that is of this account."""
    key, own = names.account_key(name), names.own_id(name)
    bare = house.withdrawals.get(own)
    return own if bare is not None and bare.account == key else _withdrawal_id(key, own)


def _withdrawal_id(key: AccountKey, own: str) -> str:
    """Under its account, so that an id that one member takes is nothing to another."""
    return f"{key}/{own}"


def _amount_of(asset: AssetId, text: str, house: House, violations: Violations) -> int:
    """For an unknown asset nothing can be counted: the decider refuses it before it looks."""
    row = house.assets.get(asset)
    return 0 if row is None else _amount(units.of_asset(row), text, violations)


def _amount(unit: Unit, text: str, violations: Violations) -> int:
    try:
        return unit.parse(text)
    except DecimalRefused as refused:
        violations.add("amount", str(refused))
        return 0


# answers ----------------------------------------------------------------------------------------------


def deposited(command: Deposit, outcome: Outcome) -> pb.NotifyDepositResponse:
    """Which account was credited."""
    told = (AccountKey(one.subject) for one in outcome.events if one.kind == Kind.DEPOSITED.name)
    return pb.NotifyDepositResponse(account=names.account(next(told, command.account)))


def requested(command: RequestWithdrawal, house: House) -> pb.RequestWithdrawalResponse:
    """The withdrawal that was asked for."""
    held = Withdrawal(
        id=command.withdrawal,
        account=command.account,
        asset=command.asset,
        amount_minor=command.amount_minor,
        state=WithdrawalState.HELD,
    )
    return pb.RequestWithdrawalResponse(withdrawal=message(held, house))


def sent(request: pb.SendWithdrawalRequest) -> pb.SendWithdrawalResponse:
    """That custody was instructed."""
    return pb.SendWithdrawalResponse(name=request.name, state=pb.WITHDRAWAL_STATE_SENT)


def settled(request: pb.SettleWithdrawalRequest) -> pb.SettleWithdrawalResponse:
    """How a withdrawal ended."""
    state = pb.WITHDRAWAL_STATE_PAID if request.paid else pb.WITHDRAWAL_STATE_RELEASED
    return pb.SettleWithdrawalResponse(name=request.name, state=state)


def payments(member: MemberId, outcome: Outcome, unit: Unit) -> pb.PayDuesResponse:
    """What a member paid."""
    told = [(one, *_default_and_member(one)) for one in outcome.events if one.kind in _PAID]
    return pb.PayDuesResponse(
        payments=[
            pb.DuePayment(
                kind=_PAID[one.kind],
                default=names.default(DefaultId(default)),
                amount=unit.render(one.amount_minor),
            )
            for one, default, payer in told
            if payer == member
        ]
    )


def _default_and_member(told: Event) -> tuple[str, str]:
    default, member = told.subject.replace("/", " ").split(" ")
    return default, member


def message(row: Withdrawal, house: House) -> pb.Withdrawal:
    """A withdrawal."""
    return pb.Withdrawal(
        name=names.withdrawal(row.account, row.id),
        asset=names.asset(row.asset),
        amount=units.of_asset(house.assets[row.asset]).render(row.amount_minor),
        state=STATES[row.state],
    )


def is_in(state: "pb.WithdrawalState.ValueType", row: Withdrawal) -> bool:
    """Whether a withdrawal has come as far as ``state`` says, which may be any."""
    return state in (pb.WITHDRAWAL_STATE_UNSPECIFIED, STATES[row.state])


def due(row: Owed, unit: Unit) -> pb.Due:
    """What a member owes."""
    return pb.Due(
        member=names.member(row.member),
        kind=_DUES[row.kind],
        default=names.default(row.default),
        amount=unit.render(row.amount_minor),
        due_time=times.from_ms(row.due_ms),
    )
