"""CollateralService."""

import grpc

from clearing.decide.treasury import withdrawable
from clearing.default.dues import dues
from clearing.engine import Engine
from clearing.model import units
from clearing.model.house import House
from clearing.model.ids import AccountKey, AssetId, member_of
from clearing.model.outcomes import Reason
from clearing.server.calls import caller_of, founded, shown, write
from clearing.server.errors import Refused
from clearing.server.identity import Identity
from clearing.server.pages import page_of
from clearing.server.wire import collateral as wire
from clearing.server.wire import names
from clearing.server.wire.violations import require_valid
from clearinghouse.v1 import collateral_service_pb2 as pb
from clearinghouse.v1.collateral_service_pb2_grpc import CollateralServiceServicer


class Collaterals(CollateralServiceServicer):
    """Money and collateral that come and go, and what is owed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def NotifyDeposit(  # named by the proto
        self, request: pb.NotifyDepositRequest, context: grpc.ServicerContext
    ) -> pb.NotifyDepositResponse:
        """Credit what arrived in custody."""
        command = wire.parse_deposit(request, founded(self._engine.view))
        return wire.deposited(command, write(self._engine, command, request, context))

    def RequestWithdrawal(
        self, request: pb.RequestWithdrawalRequest, context: grpc.ServicerContext
    ) -> pb.RequestWithdrawalResponse:
        """Hold an amount for withdrawal."""
        house = founded(self._engine.view)
        command = wire.parse_withdrawal(request, house)
        write(self._engine, command, request, context)
        return wire.requested(command, house)

    def SendWithdrawal(
        self, request: pb.SendWithdrawalRequest, context: grpc.ServicerContext
    ) -> pb.SendWithdrawalResponse:
        """Instruct custody."""
        command = wire.parse_sending(request, founded(self._engine.view))
        write(self._engine, command, request, context)
        return wire.sent(request)

    def SettleWithdrawal(
        self, request: pb.SettleWithdrawalRequest, context: grpc.ServicerContext
    ) -> pb.SettleWithdrawalResponse:
        """Note that custody paid, or did not."""
        command = wire.parse_settling(request, founded(self._engine.view))
        write(self._engine, command, request, context)
        return wire.settled(request)

    def GetWithdrawal(
        self, request: pb.GetWithdrawalRequest, context: grpc.ServicerContext
    ) -> pb.GetWithdrawalResponse:
        """One withdrawal by its name."""
        require_valid(request)
        view = self._engine.view
        house = founded(view)
        row = house.withdrawals.get(wire.withdrawal_id(request.name, house))
        if row is None:
            raise Refused(Reason.WITHDRAWAL_UNKNOWN, request.name)
        return pb.GetWithdrawalResponse(withdrawal=wire.message(row, house), journal_size=view.size)

    def ListWithdrawals(
        self, request: pb.ListWithdrawalsRequest, context: grpc.ServicerContext
    ) -> pb.ListWithdrawalsResponse:
        """Withdrawals of one member, or of all that the caller may name."""
        require_valid(request)
        view, caller = self._engine.view, caller_of(context)
        house = founded(view)
        found = {
            names.withdrawal(row.account, row.id): row
            for row in house.withdrawals.values()
            if _may_name(request.parent, row.account, caller) and wire.is_in(request.state, row)
        }
        question = ("withdrawals", request.parent, str(request.state), caller.actor)
        page = page_of(found, request, *question)
        return pb.ListWithdrawalsResponse(
            withdrawals=[wire.message(found[name], house) for name in page.keys],
            next_page_token=page.next_token,
            journal_size=view.size,
        )

    def GetWithdrawable(
        self, request: pb.GetWithdrawableRequest, context: grpc.ServicerContext
    ) -> pb.GetWithdrawableResponse:
        """How much of an asset could be withdrawn now."""
        require_valid(request)
        view = self._engine.view
        house = founded(view)
        key, asset = names.account_key(request.account), AssetId(names.own_id(request.asset))
        _require_known(house, request)
        amount_minor, rejected = withdrawable(house, key, asset, self._engine.now_ms())
        return pb.GetWithdrawableResponse(
            amount=units.of_asset(house.assets[asset]).render(amount_minor),
            reason="" if rejected is None else rejected.reason.name,
            journal_size=view.size,
        )

    def MoveCash(self, request: pb.MoveCashRequest, context: grpc.ServicerContext) -> pb.MoveCashResponse:
        """Move cash within a netting set."""
        command = wire.parse_move(request, founded(self._engine.view))
        write(self._engine, command, request, context)
        return pb.MoveCashResponse()

    def ContributeToPool(
        self, request: pb.ContributeToPoolRequest, context: grpc.ServicerContext
    ) -> pb.ContributeToPoolResponse:
        """Take a member's contribution."""
        command = wire.parse_contribution(request, founded(self._engine.view))
        write(self._engine, command, request, context)
        return pb.ContributeToPoolResponse()

    def PayDues(self, request: pb.PayDuesRequest, context: grpc.ServicerContext) -> pb.PayDuesResponse:
        """Pay what a member owes."""
        command = wire.parse_payment(request)
        unit = units.of_settlement(founded(self._engine.view))
        return wire.payments(command.member, write(self._engine, command, request, context), unit)

    def ListDues(self, request: pb.ListDuesRequest, context: grpc.ServicerContext) -> pb.ListDuesResponse:
        """What one member owes, or all that the caller sees."""
        require_valid(request)
        view, caller = self._engine.view, caller_of(context)
        house = founded(view)
        owed = {row.key: row for row in dues(house)}
        keys = filter(shown(request.parent, caller), owed)
        page = page_of(keys, request, "dues", request.parent, caller.actor)
        unit = units.of_settlement(house)
        return pb.ListDuesResponse(
            dues=[wire.due(owed[key], unit) for key in page.keys],
            next_page_token=page.next_token,
            journal_size=view.size,
        )

    def FundHouse(self, request: pb.FundHouseRequest, context: grpc.ServicerContext) -> pb.FundHouseResponse:
        """Take the house's own money."""
        command = wire.parse_funding(request, founded(self._engine.view))
        write(self._engine, command, request, context)
        return pb.FundHouseResponse()

    def RecordRecovery(
        self, request: pb.RecordRecoveryRequest, context: grpc.ServicerContext
    ) -> pb.RecordRecoveryResponse:
        """Distribute what was recovered."""
        command = wire.parse_recovery(request, founded(self._engine.view))
        write(self._engine, command, request, context)
        return pb.RecordRecoveryResponse()

    def ReplaceLostAsset(
        self, request: pb.ReplaceLostAssetRequest, context: grpc.ServicerContext
    ) -> pb.ReplaceLostAssetResponse:
        """Take back what was lost."""
        command = wire.parse_replacement(request, founded(self._engine.view))
        write(self._engine, command, request, context)
        return pb.ReplaceLostAssetResponse()


def _may_name(parent: str, key: AccountKey, caller: Identity) -> bool:
    """Whether a list under ``parent`` shows ``caller`` a withdrawal from an account."""
    wanted = parent in (names.ALL_MEMBERS, names.member(member_of(key)))
    return wanted and (caller.names_all or caller.sees(member_of(key)))


def _require_known(house: House, request: pb.GetWithdrawableRequest) -> None:
    if names.account_key(request.account) not in house.accounts:
        raise Refused(Reason.ACCOUNT_UNKNOWN, request.account)
    if names.own_id(request.asset) not in house.assets:
        raise Refused(Reason.ASSET_UNKNOWN, request.asset)
