"""AccountService."""

import grpc

from clearing.engine import Engine
from clearing.model.outcomes import Reason
from clearing.server.calls import caller_of, founded, shown, write
from clearing.server.errors import Refused
from clearing.server.pages import page_of
from clearing.server.wire import accounts as wire
from clearing.server.wire import names
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
        write(self._engine, command, request, context)
        return wire.answer(command, self._engine.view.state)
