"""A perpetuals exchange that clears: its matches become trades of the house, one call each, sent as few batches.

    python -m examples.perp_dex 127.0.0.1:7443 keys/clients/member/alpha members/alpha

It opens an account for a new trader and waits until custody has reported the first deposit; it clears a burst of
matches, then follows its events. A trader who is called for margin is cut back at once, by half, against a trader who
stands on the other side.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from decimal import ROUND_UP, Decimal
from pathlib import Path

from clearing_client.aio import AsyncClient, pages
from clearing_client.requests import new_trade
from clearinghouse.v1 import account_service_pb2 as account_pb
from clearinghouse.v1 import event_service_pb2 as event_pb
from clearinghouse.v1 import trade_service_pb2 as trade_pb

INSTRUMENT = "instruments/BTC-PERP"
LOT = Decimal("0.001")
BURST = 100
NEWCOMER = "zoe"


async def open_account(house: AsyncClient, member: str, trader: str) -> str:
    """Open an account for a trader. The request id is the trader's own: run again, it gets the same answer."""
    request = account_pb.OpenAccountRequest(
        parent=member, request_id=f"open/{trader}", account_id=trader, participant=f"participants/{trader}"
    )
    return (await house.accounts.OpenAccount(request)).name


async def deposited(house: AsyncClient, account: str, after_sequence: int) -> str:
    """Wait until custody has reported a deposit for the account; what arrived."""
    async for event in house.follow_events(after_sequence, ["DEPOSITED"]):
        for change in event.changes:
            if change.account == account:
                return f"{change.amount} {change.unit}"
    raise AssertionError("events never end")


async def accounts(house: AsyncClient, member: str) -> list[account_pb.Account]:
    """What each account of the member holds."""
    listed = pages(house.accounts.ListAccounts, account_pb.ListAccountsRequest(parent=member))
    return [account async for page in listed for account in page.accounts]


async def clear(
    house: AsyncClient, member: str, matches: Sequence[trade_pb.NewTrade]
) -> list[trade_pb.TradeResult]:
    """Clear matches as they come: each waits for its own result, and all that wait travel together."""
    return await asyncio.gather(*(house.submit_trade(member, match) for match in matches))


async def called(house: AsyncClient, after_sequence: int) -> AsyncIterator[event_pb.EventFact.Call]:
    """Every margin call that comes, also those that were issued while this program was down."""
    async for event in house.follow_events(after_sequence, ["CALL_ISSUED"]):
        for fact in event.facts:
            if fact.HasField("call"):
                yield fact.call


async def cut_back(house: AsyncClient, member: str, netting_set: str, price: str) -> trade_pb.TradeResult:
    """Halve the position of the trader who was called."""
    held = {account.name: account for account in await accounts(house, member)}
    sizes = {name: size_of(account) for name, account in held.items()}
    trader = next(name for name, account in held.items() if account.netting_set == netting_set)
    other = min(sizes, key=lambda name: sizes[name] if sizes[trader] > 0 else -sizes[name])
    half = (abs(sizes[trader]) / 2).quantize(LOT, ROUND_UP)
    buyer, seller = (other, trader) if sizes[trader] > 0 else (trader, other)
    trade = new_trade(INSTRUMENT, buyer=buyer, seller=seller, size=str(half), price=price)
    return await house.submit_trade(member, trade)


def size_of(account: account_pb.Account) -> Decimal:
    """How much the account holds of the instrument; negative when short."""
    return sum((Decimal(one.size) for one in account.positions if one.instrument == INSTRUMENT), Decimal(0))


async def mark(house: AsyncClient) -> str:
    """The newest price of the instrument."""
    listed = (await house.house()).house.instruments
    return next(one.mark_price for one in listed if one.name == INSTRUMENT)


async def main(address: str, keys: Path, member: str) -> None:
    """Open an account, trade, then wait for the first margin call and answer it."""
    async with AsyncClient.connect(address, keys) as house:
        seen = (await house.house()).journal_size - 1
        opened = await open_account(house, member, NEWCOMER)
        print(f"{opened} waits for its first deposit", flush=True)
        print(f"{opened} got {await deposited(house, opened, seen)}")
        found = await accounts(house, member)
        traders = [one for one in found if one.kind == account_pb.ACCOUNT_KIND_CLIENT]
        for account in traders:
            print(f"{account.name} holds {account.cash}")
        buyer, seller, price = traders[0].name, traders[1].name, await mark(house)
        matches = [
            new_trade(INSTRUMENT, buyer=buyer, seller=seller, size="0.001", price=price) for _ in range(BURST)
        ]
        results = await clear(house, member, matches)
        novated = sum(result.status == trade_pb.TRADE_STATUS_NOVATED for result in results)
        print(f"{novated} of {len(matches)} matches were cleared", flush=True)
        async for call in called(house, seen):
            print(f"{call.netting_set} must bring {call.amount}", flush=True)
            result = await cut_back(house, member, call.netting_set, await mark(house))
            print(f"cut back by half: {result.reason or 'novated'}", flush=True)
            break


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
