"""The books over a real connection, and proofs that hold without the house."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from clearing import keys as house_keys
from clearing_client.client import new_trade
from clearing_client.connect import channel
from clearing_client.errors import ClearingError, of_call
from clearing_client.offline import tiled_leaves, verify_checkpoint, verify_receipt
from clearinghouse.v1 import ledger_service_pb2 as pb
from clearinghouse.v1 import ledger_service_pb2_grpc as pb_grpc
from ledger.account import account_id
from ledger.checkpoint import parse_checkpoint_body, parse_note
from ledger.leaf import decode_leaf
from ledger.merkle import leaf_hash, tree_root, verify_consistency, verify_inclusion
from tests.serving import Served, wait_until

ALPHA, BETA, RITA, ANNA = "member/alpha", "member/beta", "regulator/rita", "administrator/anna"
ONE, TWO = "members/alpha/accounts/one", "members/alpha/accounts/two"
CASH = f"{ONE}/cash"


@contextmanager
def ledger(served: Served, who: str) -> Iterator[pb_grpc.LedgerServiceStub]:
    with channel(served.address, served.keys / "clients" / who) as connected:
        yield pb_grpc.LedgerServiceStub(connected)


def trade(served: Served) -> int:
    """A novated trade; the number of its entry."""
    with served.client(ALPHA) as alpha:
        one = new_trade("BTC-PERP", buyer=ONE, seller=TWO, size="0.001", price="64000.0")
        alpha.submit_trades("members/alpha", [one])
    return served.journal_size() - 1


def refused(call: Any, request: Any) -> ClearingError:
    with pytest.raises(grpc.RpcError) as error:
        call(request, timeout=20)
    return of_call(error.value)


def wait_until_shown(served: Served, sequence: int) -> None:
    def is_shown() -> bool:
        with ledger(served, ALPHA) as stub:
            note = stub.GetCheckpoint(pb.GetCheckpointRequest()).checkpoint
        return parse_checkpoint_body(parse_note(note).text).size > sequence

    wait_until(is_shown)


# entries ------------------------------------------------------------------------------------------------


def test_a_member_sees_its_own_legs_of_an_entry_and_who_asked_only_if_it_did(served: Served) -> None:
    sequence = trade(served)
    name = f"entries/{sequence}"
    with ledger(served, ALPHA) as alpha, ledger(served, RITA) as rita:
        own = alpha.GetEntry(pb.GetEntryRequest(name=name)).entry
        whole = rita.GetEntry(pb.GetEntryRequest(name=name)).entry
    assert (own.kind, own.kind_number, own.actor) == ("TRADE_NOVATED", 300, ALPHA)
    assert {leg.ledger_account.split("/")[1] for leg in own.legs} == {"alpha"}
    assert len(own.legs) < own.leg_count == len(whole.legs)
    assert list(own.legs) == [leg for leg in whole.legs if leg.ledger_account.startswith("members/alpha/")]
    assert (own.fact, list(own.references)) == ("", [])
    assert whole.fact.startswith("[[")
    assert whole.actor == ALPHA
    assert own.request_id == whole.request_id != ""


def test_a_foreign_entry_and_none_look_the_same(served: Served) -> None:
    sequence, size = trade(served), served.journal_size()
    with ledger(served, BETA) as beta:
        errors = [
            refused(beta.GetEntry, pb.GetEntryRequest(name=f"entries/{n}"))
            for n in (sequence, 0, size, 10**17)
        ]
    assert {(e.code, e.reason) for e in errors} == {(grpc.StatusCode.NOT_FOUND, "ENTRY_UNKNOWN")}
    assert (
        len({str(e).replace(str(n), "N") for e, n in zip(errors, (sequence, 0, size, 10**17), strict=True)})
        == 1
    )


def test_pages_of_entries_are_the_whole_list_and_cut_to_the_caller(served: Served) -> None:
    for _ in range(3):
        trade(served)
    for who in (ALPHA, BETA, RITA):
        with ledger(served, who) as stub:
            whole = _entries(stub, page_size=1_000)
            assert _entries(stub, page_size=2) == whole
            owners = {leg.ledger_account.split("/accounts/")[0] for e in whole for leg in e.legs}
            if who == RITA:
                assert [entry.sequence for entry in whole] == list(range(served.journal_size()))
            else:
                assert owners == {f"members/{who.partition('/')[2]}"}
            kinds = _entries(stub, kinds=["DEPOSITED"])
            assert {entry.kind for entry in kinds} == {"DEPOSITED"}
            start = whole[-1].sequence
            assert _entries(stub, from_sequence=start) == whole[-1:]


def _entries(stub: pb_grpc.LedgerServiceStub, **asked: Any) -> list[pb.Entry]:
    found: list[pb.Entry] = []
    token = ""
    while True:
        page = stub.ListEntries(pb.ListEntriesRequest(page_token=token, **asked))
        found += page.entries
        token = page.next_page_token
        if not token:
            return found


def test_a_token_of_another_list_or_caller_is_refused(served: Served) -> None:
    with ledger(served, RITA) as rita, ledger(served, ALPHA) as alpha:
        token = rita.ListEntries(pb.ListEntriesRequest(page_size=1)).next_page_token
        assert token
        for stub, asked in (
            (alpha, pb.ListEntriesRequest(page_token=token)),
            (rita, pb.ListEntriesRequest(page_token=token, from_sequence=1)),
            (rita, pb.ListEntriesRequest(page_token="bm90IGEgdG9rZW4=")),
        ):
            assert refused(stub.ListEntries, asked).violations[0].field == "page_token"


# statements and balances --------------------------------------------------------------------------------


def test_a_statement_ties_and_its_pages_are_as_of_one_entry(served: Served) -> None:
    first, last = trade(served), trade(served)
    with ledger(served, ALPHA) as alpha:
        asked: dict[str, Any] = {"ledger_account": f"{ONE}/position", "unit": "BTC-PERP"}
        whole = alpha.GetStatement(pb.GetStatementRequest(**asked, at_least_sequence=last))
        assert whole.as_of >= last + 1
        assert {first, last} <= {line.sequence for line in whole.lines}
        assert whole.opening_balance == "0.000"
        assert whole.lines[-1].balance == whole.closing_balance
        page = alpha.GetStatement(pb.GetStatementRequest(**asked, page_size=1, at_least_sequence=last))
        lines, as_of = list(page.lines), page.as_of
        trade(served)
        while page.next_page_token:
            page = alpha.GetStatement(
                pb.GetStatementRequest(
                    **asked, page_size=1, at_least_sequence=last, page_token=page.next_page_token
                )
            )
            assert page.as_of == as_of
            lines += page.lines
        assert lines == list(whole.lines)
        earlier = alpha.GetStatement(pb.GetStatementRequest(**asked, as_of=first + 1))
        assert earlier.lines[-1].sequence == first
        later = alpha.GetStatement(pb.GetStatementRequest(**asked, from_sequence=last, as_of=last + 1))
        assert [line.sequence for line in later.lines] == [last]
        assert later.opening_balance == whole.lines[-2].balance


@pytest.mark.parametrize(
    ("asked", "code", "reason"),
    [
        ({"as_of": 10**15}, grpc.StatusCode.OUT_OF_RANGE, "SEQUENCE_AHEAD"),
        ({"at_least_sequence": 10**15}, grpc.StatusCode.OUT_OF_RANGE, "SEQUENCE_AHEAD"),
        ({"as_of": 1}, grpc.StatusCode.NOT_FOUND, "ACCOUNT_UNKNOWN"),
        ({"unit": "DOGE"}, grpc.StatusCode.NOT_FOUND, "ACCOUNT_UNKNOWN"),
        ({"from_sequence": 10**15}, grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_INVALID"),
        ({"unit": "ß"}, grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_INVALID"),
        ({"page_token": "AAAAAAAAAAAxLzIvMw=="}, grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_INVALID"),
        (
            {"ledger_account": "members/beta/accounts/one/cash"},
            grpc.StatusCode.PERMISSION_DENIED,
            "NOT_YOURS",
        ),
        ({"ledger_account": "house/capital"}, grpc.StatusCode.PERMISSION_DENIED, "NOT_YOURS"),
        (
            {"ledger_account": "members/alpha/../beta/cash"},
            grpc.StatusCode.INVALID_ARGUMENT,
            "REQUEST_INVALID",
        ),
    ],
)
def test_a_statement_that_cannot_be_given_says_why(
    served: Served, asked: dict[str, Any], code: grpc.StatusCode, reason: str
) -> None:
    with ledger(served, ALPHA) as alpha:
        request = pb.GetStatementRequest(**({"ledger_account": CASH, "unit": "USDC"} | asked))
        error = refused(alpha.GetStatement, request)
    assert (error.code, error.reason) == (code, reason)


def test_the_trial_balance_balances_as_of_any_entry(served: Served) -> None:
    last = trade(served)
    with ledger(served, RITA) as rita, ledger(served, ALPHA) as alpha:
        for as_of in (1, 14, last + 1):
            found = rita.GetTrialBalance(pb.GetTrialBalanceRequest(as_of=as_of, at_least_sequence=last))
            assert all(line.debits == line.credits for line in found.lines)
            assert found.as_of == as_of
        newest = rita.GetTrialBalance(pb.GetTrialBalanceRequest(at_least_sequence=last))
        assert newest.as_of >= last + 1
        assert {line.unit for line in newest.lines} == {"BTC-PERP", "ETH", "USDC"}
        denied = refused(alpha.GetTrialBalance, pb.GetTrialBalanceRequest())
        assert denied.reason == "ROLE_NOT_ALLOWED"


# proofs -------------------------------------------------------------------------------------------------


def test_receipts_hold_for_the_offline_verifier(served: Served) -> None:
    sequence = trade(served)
    wait_until_shown(served, sequence)
    policy = house_keys.read_policy(served.keys)
    with ledger(served, ALPHA) as alpha:
        name = f"entries/{sequence}"
        entry = alpha.GetReceipt(pb.GetReceiptRequest(name=name)).receipt
        unit = "BTC-PERP"
        account = f"{ONE}/position"
        legs = alpha.GetReceipt(pb.GetReceiptRequest(name=name, ledger_account=account, unit=unit)).receipt
    assert verify_receipt(policy, entry, None).ok
    assert verify_receipt(policy, legs, account_id(account, unit)).ok
    assert not verify_receipt(policy, legs, account_id(f"{TWO}/position", unit)).ok
    assert not verify_receipt(policy, entry.replace(b"index ", b"index 1"), None).ok


def test_an_entry_that_is_not_shown_yet_is_worth_another_try(served: Served) -> None:
    sequence = trade(served)
    with ledger(served, ALPHA) as alpha:
        receipt = alpha.GetReceipt(pb.GetReceiptRequest(name=f"entries/{sequence}"), timeout=20).receipt
    assert receipt, "the service config tries again until the entry is shown"


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"name": "entries/999999"}, "ENTRY_UNKNOWN"),
        ({"name": "entries/01"}, "REQUEST_INVALID"),
        ({"name": "entries/1", "ledger_account": CASH}, "REQUEST_INVALID"),
        ({"name": "entries/1", "unit": "USDC"}, "REQUEST_INVALID"),
        ({"name": "entries/1", "ledger_account": CASH, "unit": "USDC"}, "ENTRY_UNKNOWN"),
        (
            {"name": "entries/1", "ledger_account": "members/beta/accounts/one/cash", "unit": "USDC"},
            "NOT_YOURS",
        ),
        ({"name": "entries/1", "ledger_account": "custody", "unit": "USDC"}, "NOT_YOURS"),
    ],
)
def test_a_receipt_that_is_not_given_says_why(served: Served, asked: dict[str, Any], reason: str) -> None:
    with ledger(served, ALPHA) as alpha:
        assert refused(alpha.GetReceipt, pb.GetReceiptRequest(**asked)).reason == reason


def test_the_whole_log_is_read_by_tiles_and_covers_the_checkpoint(served: Served) -> None:
    policy = house_keys.read_policy(served.keys)
    with ledger(served, BETA) as beta:

        def read(path: str) -> bytes:
            try:
                return beta.GetTile(pb.GetTileRequest(path=path)).tile
            except grpc.RpcError as error:
                raise LookupError(of_call(error).reason) from None

        note = beta.GetCheckpoint(pb.GetCheckpointRequest()).checkpoint
        assert verify_checkpoint(policy, "checkpoint", note).ok
        leaves = list(tiled_leaves(policy, note, read))
    shown = parse_checkpoint_body(parse_note(note).text)
    assert [decode_leaf(leaf).sequence for leaf in leaves] == list(range(shown.size))
    assert tree_root([leaf_hash(leaf) for leaf in leaves]) == shown.root


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("tile/0/999", "TILE_UNKNOWN"),
        ("tile/0/1", "REQUEST_INVALID"),
        ("tile/../../keys/server.key", "REQUEST_INVALID"),
        ("checkpoint", "REQUEST_INVALID"),
        ("", "REQUEST_INVALID"),
        ("x" * 129, "REQUEST_INVALID"),
    ],
)
def test_what_is_no_tile_is_refused(served: Served, path: str, reason: str) -> None:
    with ledger(served, ALPHA) as alpha:
        assert refused(alpha.GetTile, pb.GetTileRequest(path=path)).reason == reason


def test_proofs_hold_for_every_pair_of_sizes(served: Served) -> None:
    with ledger(served, ALPHA) as alpha:
        newest = alpha.GetInclusionProof(pb.GetInclusionProofRequest(index=0))
        for size in {1, 2, 5, newest.size - 1, newest.size}:
            for index in {0, size // 2, size - 1}:
                found = alpha.GetInclusionProof(pb.GetInclusionProofRequest(index=index, size=size))
                assert decode_leaf(found.leaf).sequence == index
                verify_inclusion(leaf_hash(found.leaf), index, size, found.path, found.root)
            for old in {1, size}:
                proof = alpha.GetConsistencyProof(pb.GetConsistencyProofRequest(old_size=old, new_size=size))
                verify_consistency(old, proof.old_root, size, proof.new_root, proof.path)
        assert (
            newest.root
            == alpha.GetConsistencyProof(
                pb.GetConsistencyProofRequest(old_size=1, new_size=newest.size)
            ).new_root
        )


def test_proofs_of_what_is_not_there_are_refused(served: Served) -> None:
    with ledger(served, ALPHA) as alpha:
        inclusion, consistency = alpha.GetInclusionProof, alpha.GetConsistencyProof
        beyond = pb.GetInclusionProofRequest(index=0, size=10**9)
        assert refused(inclusion, beyond).reason == "SEQUENCE_AHEAD"
        assert refused(inclusion, pb.GetInclusionProofRequest(index=5, size=5)).violations[0].field == "index"
        older = pb.GetConsistencyProofRequest(old_size=6, new_size=5)
        assert refused(consistency, older).violations[0].field == "old_size"
        nothing = pb.GetConsistencyProofRequest(old_size=0, new_size=5)
        assert refused(consistency, nothing).violations[0].field == "old_size"
