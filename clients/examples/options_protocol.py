r"""An options protocol that clears: it asks before it trades, links a trader's accounts, and hears of margin calls.

    python -m examples.options_protocol 127.0.0.1:7443 keys/clients/member/alpha \
        members/alpha instruments/BTC-64000-C members/beta/accounts/one

The first two client accounts of the member trade: one writes the option, the other buys it. The writer's account at
another member, the last argument, holds a hedge; once that member has sent the same link, both are margined as one.
"""

import sys
from decimal import Decimal
from pathlib import Path

from clearing_client.client import Client, pages
from clearing_client.requests import new_trade
from clearinghouse.v1 import account_service_pb2 as account_pb
from clearinghouse.v1 import margin_service_pb2 as margin_pb
from clearinghouse.v1 import price_service_pb2 as price_pb
from clearinghouse.v1 import trade_service_pb2 as trade_pb

SIZE = Decimal(100)


def clients(house: Client, member: str) -> list[account_pb.Account]:
    """The client accounts of the member."""
    listed = pages(house.accounts.ListAccounts, account_pb.ListAccountsRequest(parent=member))
    return [one for page in listed for one in page.accounts if one.kind == account_pb.ACCOUNT_KIND_CLIENT]


def premium(house: Client, option: str) -> str:
    """What the house says that the option is worth."""
    listed = pages(house.prices.ListOptionMarks, price_pb.ListOptionMarksRequest())
    return next(mark.price for page in listed for mark in page.option_marks if mark.instrument == option)


def what_if(house: Client, account: str, option: str, price: str) -> margin_pb.WhatIfResponse:
    """What writing the option would do to the margin of the account; nothing is recorded."""
    trade = margin_pb.HypotheticalTrade(instrument=option, size=str(-SIZE), price=price)
    return house.margins.WhatIf(margin_pb.WhatIfRequest(account=account, trades=[trade]))


def link(house: Client, member: str, participant: str, accounts: list[str]) -> margin_pb.Margin:
    """The margin of the accounts as one portfolio, once every member has sent the same link."""
    before = house.house().journal_size - 1
    asked = account_pb.LinkAccountsRequest(parent=member, participant=participant, accounts=accounts)
    answer = house.accounts.LinkAccounts(asked)
    if answer.status == account_pb.LINK_STATUS_PROPOSED:
        print(f"{answer.netting_set} is proposed", flush=True)
        next(house.follow_events(before, ["NETTING_SET_LINKED"]))
    return house.margins.GetMargin(margin_pb.GetMarginRequest(netting_set=answer.netting_set)).margin


def main(address: str, keys: Path, member: str, option: str, elsewhere: str) -> None:
    """Write an option, link the writer's accounts, and wait for the first margin call."""
    with Client.connect(address, keys) as house:
        writer, buyer = clients(house, member)[:2]
        price = premium(house, option)
        answer = what_if(house, writer.name, option, price)
        print(f"writing {SIZE} would need {answer.after.requirement}, {answer.after.equity} is there")
        if not answer.results[0].accepted:
            raise SystemExit(answer.results[0].message)

        trade = new_trade(option, buyer=buyer.name, seller=writer.name, size=str(SIZE), price=price)
        result = house.submit_trade(member, trade)
        print(f"{trade_pb.TradeStatus.Name(result.status)} at {price} {result.reason}", flush=True)

        margin = link(house, member, writer.participant, [writer.name, elsewhere])
        seen = house.house().journal_size - 1
        saved = Decimal(margin.standalone_requirement) - Decimal(margin.requirement)
        print(f"together they need {margin.requirement}: linking saves {saved}", flush=True)

        event = next(house.follow_events(seen, ["CALL_ISSUED"]))
        call = next(fact.call for fact in event.facts if fact.HasField("call"))
        print(f"{call.netting_set} must bring {call.amount}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:6])
