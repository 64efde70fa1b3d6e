"""LedgerService: the books as the house tells them, and the proofs with which nobody has to believe it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import grpc

from clearing.engine import Engine
from clearing.model.outcomes import Reason
from clearing.server.calls import caller_of, founded
from clearing.server.errors import Fault, Refused
from clearing.server.history import Books
from clearing.server.identity import Identity
from clearing.server.pages import open_token, seal_token, size_of
from clearing.server.wire import ledger as wire
from clearing.server.wire import names
from clearing.server.wire.violations import RequestInvalid, Violations, require_valid
from clearinghouse.v1 import ledger_service_pb2 as pb
from clearinghouse.v1.ledger_service_pb2_grpc import LedgerServiceServicer
from ledger.account import account_id
from ledger.entry import Entry
from ledger.receipt import ReceiptReason, ReceiptRefused, format_entry, format_legs, prove_entry
from ledger.store import history
from ledger.store.connect import reading
from ledger.store.history import AccountUnknown
from ledger.store.receipts import receipt_of_legs
from ledger.tiles import TiledTree, TileRefused

SCANNED_MAX = 10_000
"""Entries that one ListEntries looks at, about; then it gives a page, however short."""

_FOREIGN_TOKEN = {"page_token": "was not given for this list; leave it empty to start again"}


class Ledgers(LedgerServiceServicer):
    """Shows entries, balances and proofs."""

    def __init__(self, engine: Engine, books: Books) -> None:
        self._engine, self._database, self._journal = engine, books.database, books.tail.journal
        self._past, self._log = books.past, books.log

    # what the house says --------------------------------------------------------------------------------

    def GetEntry(  # named by the proto
        self, request: pb.GetEntryRequest, context: grpc.ServicerContext
    ) -> pb.GetEntryResponse:
        """One entry with the legs that the caller may see."""
        require_valid(request)
        caller = caller_of(context)
        founded(self._engine.view)
        sequence = int(names.own_id(request.name))
        row = self._journal.entry(sequence)
        shown = None if row is None else self._shown(sequence, row, caller)
        if shown is None:
            raise Refused(Fault.ENTRY_UNKNOWN, request.name)
        return pb.GetEntryResponse(entry=shown, journal_size=self._journal.size)

    def ListEntries(
        self, request: pb.ListEntriesRequest, context: grpc.ServicerContext
    ) -> pb.ListEntriesResponse:
        """A page of entries with the legs that the caller may see."""
        kinds = wire.kinds(request)
        caller = caller_of(context)
        founded(self._engine.view)
        question = ("entries", str(request.from_sequence), *sorted(request.kinds), caller.actor)
        after = _number(open_token(request.page_token, *question))
        start = request.from_sequence if after is None else after + 1
        answer, size = pb.ListEntriesResponse(journal_size=self._journal.size), self._journal.size
        at = start
        while at < size and at - start < SCANNED_MAX and len(answer.entries) < size_of(request.page_size):
            for sequence, row in self._journal.decoded(self._journal.segments(at), at):
                at = sequence + 1
                shown = self._shown(sequence, row, caller) if not kinds or row.kind in kinds else None
                answer.entries.extend(() if shown is None else (shown,))
                if len(answer.entries) == size_of(request.page_size):
                    break
        if at < size:
            answer.next_page_token = seal_token(str(at - 1), *question)
        return answer

    def _shown(self, sequence: int, row: Entry, caller: Identity) -> pb.Entry | None:
        """The entry as ``caller`` sees it, None if it sees none of it."""
        own = [index for index, leg in enumerate(row.legs) if caller.reads(leg.account.path)]
        if not own and not caller.sees_all:
            return None
        house = self._engine.view.state
        return wire.entry(sequence, row, own, house, is_whole=caller.sees_all, actor=caller.actor)

    def GetStatement(
        self, request: pb.GetStatementRequest, context: grpc.ServicerContext
    ) -> pb.GetStatementResponse:
        """A page of what moved one account."""
        require_valid(request)
        house = founded(self._engine.view)
        path, unit = request.ledger_account, request.unit
        question = ("statement", path, unit, str(request.from_sequence), str(request.as_of))
        key = open_token(request.page_token, *question)
        as_of, after = (request.as_of, None) if key is None else _place(key)
        with self._past.as_of(as_of, request.at_least_sequence, context) as (connection, size):
            if request.from_sequence > size:
                raise RequestInvalid({"from_sequence": f"must not be behind as_of, {size}"})
            try:
                page = history.statement(
                    connection,
                    account_id(path, unit),
                    request.from_sequence,
                    size,
                    after=after,
                    limit=size_of(request.page_size),
                )
            except AccountUnknown:
                raise Refused(Reason.ACCOUNT_UNKNOWN, f"{path} {unit}") from None
        answer = wire.statement(page, house)
        answer.as_of, answer.journal_size = size, self._journal.size
        if page.after is not None:
            sequence, leg = page.after
            answer.next_page_token = seal_token(f"{size}/{sequence}/{leg}", *question)
        return answer

    def GetTrialBalance(
        self, request: pb.GetTrialBalanceRequest, context: grpc.ServicerContext
    ) -> pb.GetTrialBalanceResponse:
        """The sums of both sides of each unit."""
        require_valid(request)
        house = founded(self._engine.view)
        with self._past.as_of(request.as_of, request.at_least_sequence, context) as (connection, size):
            sums = history.trial_balance(connection, size)
        return pb.GetTrialBalanceResponse(
            lines=wire.trial_balance(sums, house), as_of=size, journal_size=self._journal.size
        )

    # what anyone can check ------------------------------------------------------------------------------

    def GetReceipt(
        self, request: pb.GetReceiptRequest, context: grpc.ServicerContext
    ) -> pb.GetReceiptResponse:
        """The receipt of an entry, or of one account's legs in it."""
        _require_account_whole(request)
        caller, path = caller_of(context), request.ledger_account
        if path and not caller.reads(path):
            raise Refused(Fault.NOT_YOURS, f"ledger_account is not under the name of {caller.actor}")
        sequence = int(names.own_id(request.name))
        if sequence >= self._journal.size:
            raise Refused(Fault.ENTRY_UNKNOWN, request.name)
        note, tree = self._shown_log(at_least=sequence + 1)
        if sequence >= tree.size:
            raise Refused(Fault.ENTRY_NOT_SHOWN_YET, request.name)
        if not path:
            return pb.GetReceiptResponse(receipt=format_entry(prove_entry(tree, sequence, note)))
        with reading(self._database) as connection, _no_legs(request):
            shown = receipt_of_legs(connection, tree, note, sequence, account_id(path, request.unit))
        return pb.GetReceiptResponse(receipt=format_legs(shown))

    def GetCheckpoint(
        self, request: pb.GetCheckpointRequest, context: grpc.ServicerContext
    ) -> pb.GetCheckpointResponse:
        """The newest checkpoint, whose tiles are all there."""
        note, _ = self._shown_log()
        return pb.GetCheckpointResponse(checkpoint=note)

    def GetConsistencyProof(
        self, request: pb.GetConsistencyProofRequest, context: grpc.ServicerContext
    ) -> pb.GetConsistencyProofResponse:
        """That a tree goes on from an older one."""
        require_valid(request)
        tree = self._tree(request.new_size)
        if request.old_size > tree.size:
            raise RequestInvalid({"old_size": f"must not be more than the new size, {tree.size}"})
        return pb.GetConsistencyProofResponse(
            old_size=request.old_size,
            new_size=tree.size,
            path=tree.consistency_path(request.old_size),
            old_root=tree.root_at(request.old_size),
            new_root=tree.root,
        )

    def GetInclusionProof(
        self, request: pb.GetInclusionProofRequest, context: grpc.ServicerContext
    ) -> pb.GetInclusionProofResponse:
        """That a leaf stands in a tree."""
        require_valid(request)
        tree = self._tree(request.size)
        if request.index >= tree.size:
            raise RequestInvalid({"index": f"must be below the size, {tree.size}"})
        return pb.GetInclusionProofResponse(
            index=request.index,
            size=tree.size,
            path=tree.inclusion_path(request.index),
            leaf=tree.leaf(request.index),
            root=tree.root,
        )

    def GetTile(self, request: pb.GetTileRequest, context: grpc.ServicerContext) -> pb.GetTileResponse:
        """The bytes of a tile."""
        require_valid(request)
        try:
            return pb.GetTileResponse(tile=self._log.tile(request.path))
        except TileRefused as refused:
            raise RequestInvalid({"path": str(refused)}) from None
        except LookupError:
            raise Refused(Fault.TILE_UNKNOWN, request.path) from None

    def _shown_log(self, at_least: int = 0) -> tuple[bytes, TiledTree]:
        """The newest cosigned checkpoint and its tree, or the newest if that is smaller than ``at_least``."""
        shown = self._log.shown(at_least)
        if shown is None:
            raise Refused(Fault.CHECKPOINT_UNKNOWN)
        return shown

    def _tree(self, size: int) -> TiledTree:
        """The tree over ``size`` leaves, 0 for that of the checkpoint that callers are shown."""
        _, tree = self._shown_log(at_least=size)
        if size > self._journal.size:
            raise Refused(Fault.SEQUENCE_AHEAD, f"it has {self._journal.size} entries")
        if size > tree.size:
            raise Refused(Fault.ENTRY_NOT_SHOWN_YET, f"the newest checkpoint is of {tree.size} entries")
        return self._log.earlier(tree, size) if size else tree


@contextmanager
def _no_legs(request: pb.GetReceiptRequest) -> Iterator[None]:
    try:
        yield
    except ReceiptRefused as refused:
        if refused.reason is ReceiptReason.NO_LEGS:
            raise Refused(Fault.ENTRY_UNKNOWN, f"{request.ledger_account} has no legs in it") from None
        if refused.reason is ReceiptReason.TOO_MANY_LEGS:
            raise Refused(Fault.RECEIPT_TOO_LONG) from None
        raise


def _require_account_whole(request: pb.GetReceiptRequest) -> None:
    violations = Violations(request)
    if bool(request.ledger_account) != bool(request.unit):
        violations.add("unit", "an account is named by its path and its unit: give both or none")
    violations.require_none()


def _number(key: str | None) -> int | None:
    """The number in a page token; a forged one is refused."""
    if key is None:
        return None
    (number,) = _numbers(key, 1)
    return number


def _place(key: str) -> tuple[int, tuple[int, int]]:
    """As of what, and behind which line, the next page of a statement begins."""
    size, sequence, leg = _numbers(key, 3)
    if sequence >= size:
        raise RequestInvalid(_FOREIGN_TOKEN)
    return size, (sequence, leg)


def _numbers(key: str, count: int) -> Sequence[int]:
    parts = key.split("/")
    if len(parts) != count or not all(one.isascii() and one.isdigit() and len(one) < 19 for one in parts):
        raise RequestInvalid(_FOREIGN_TOKEN)
    return [int(one) for one in parts]
