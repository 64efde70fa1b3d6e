"""AccountService."""

import grpc

from clearing.engine import Engine
from clearing.model import units
from clearing.model.ids import member_of
from clearing.model.outcomes import Reason
from clearing.server.calls import caller_of, founded, shown, write
from clearing.server.errors import Fault, Refused
from clearing.server.pages import page_of
from clearing.server.wire import accounts as wire
from clearing.server.wire import names
from clearing.server.wire.defaults import sees_set
from clearing.server.wire.violations import require_valid
from clearinghouse.v1 import account_service_pb2 as pb
from clearinghouse.v1.account_service_pb2_grpc import AccountServiceServicer


class Accounts(AccountServiceServicer):
    """Shows what members hold, and links accounts into one portfolio."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def GetAccount(  # named by the proto
        self, request: pb.GetAccountRequest, context: grpc.ServicerContext
    ) -> pb.GetAccountResponse:
        """One account by its name."""
        require_valid(request)
        view = self._engine.view
        house = founded(view)
        key = names.account_key(request.name)
        if key not in house.accounts:
            raise Refused(Reason.ACCOUNT_UNKNOWN, request.name)
        return pb.GetAccountResponse(account=wire.message(key, house), journal_size=view.size)

    def ListAccounts(
        self, request: pb.ListAccountsRequest, context: grpc.ServicerContext
    ) -> pb.ListAccountsResponse:
        """Accounts of one member, or of all that the caller sees."""
        require_valid(request)
        view, caller = self._engine.view, caller_of(context)
        house = founded(view)
        keys = filter(shown(request.parent, caller), house.accounts)
        page = page_of(keys, request, "accounts", request.parent, caller.actor)
        return pb.ListAccountsResponse(
            accounts=[wire.message(key, house) for key in page.keys],
            next_page_token=page.next_token,
            journal_size=view.size,
        )

    def LinkAccounts(
        self, request: pb.LinkAccountsRequest, context: grpc.ServicerContext
    ) -> pb.LinkAccountsResponse:
        """Propose a link, or accept the same one."""
        command = wire.parse(request)
        outcome = write(self._engine, command, request, context)
        return wire.answer(command, outcome)

    def OpenAccount(
        self, request: pb.OpenAccountRequest, context: grpc.ServicerContext
    ) -> pb.OpenAccountResponse:
        """Open a client account."""
        command = wire.parse_opening(request)
        write(self._engine, command, request, context)
        return wire.opened(command)

    def UnlinkAccounts(
        self, request: pb.UnlinkAccountsRequest, context: grpc.ServicerContext
    ) -> pb.UnlinkAccountsResponse:
        """Give notice to undo a link."""
        command = wire.parse_unlinking(request)
        unit = units.of_settlement(founded(self._engine.view))
        outcome = write(self._engine, command, request, context)
        return wire.noticed(command, outcome, unit)

    def GetNettingSet(
        self, request: pb.GetNettingSetRequest, context: grpc.ServicerContext
    ) -> pb.GetNettingSetResponse:
        """One netting set by its name."""
        require_valid(request)
        view, caller = self._engine.view, caller_of(context)
        house = founded(view)
        set_id = names.set_id(request.name)
        if set_id not in house.netting_sets:
            raise Refused(Fault.NETTING_SET_UNKNOWN, request.name)
        found = wire.netting_set(set_id, house, caller)
        return pb.GetNettingSetResponse(netting_set=found, journal_size=view.size)

    def ListNettingSets(
        self, request: pb.ListNettingSetsRequest, context: grpc.ServicerContext
    ) -> pb.ListNettingSetsResponse:
        """Netting sets in which the caller sees an account."""
        require_valid(request)
        view, caller = self._engine.view, caller_of(context)
        house = founded(view)
        keys = (set_id for set_id in house.netting_sets if sees_set(house, set_id, caller))
        page = page_of(keys, request, "nettingSets", caller.actor)
        return pb.ListNettingSetsResponse(
            netting_sets=[wire.netting_set(set_id, house, caller) for set_id in page.keys],
            next_page_token=page.next_token,
            journal_size=view.size,
        )

    def ListLinkProposals(
        self, request: pb.ListLinkProposalsRequest, context: grpc.ServicerContext
    ) -> pb.ListLinkProposalsResponse:
        """Links that wait for consent and have an account that the caller sees."""
        require_valid(request)
        view, caller = self._engine.view, caller_of(context)
        house = founded(view)
        keys = (
            set_id
            for set_id, row in house.proposals.items()
            if any(caller.sees(member_of(key)) for key in row.accounts)
        )
        page = page_of(keys, request, "linkProposals", caller.actor)
        return pb.ListLinkProposalsResponse(
            link_proposals=[wire.proposal(house.proposals[set_id]) for set_id in page.keys],
            next_page_token=page.next_token,
            journal_size=view.size,
        )
