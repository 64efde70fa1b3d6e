"""The examples are run as a reader would run them, against a served house."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

import pytest
from examples import options_protocol, perp_dex

from clearing_client.client import Client, new_id, new_trade
from clearinghouse.v1 import account_service_pb2 as account_pb
from clearinghouse.v1 import admin_service_pb2 as admin_pb
from clearinghouse.v1 import collateral_service_pb2 as collateral_pb
from clearinghouse.v1 import house_service_pb2 as house_pb
from clearinghouse.v1 import trade_service_pb2 as trade_pb
from tests.serving import SOURCES, Served, environment, served_house, signing_key

pytestmark = pytest.mark.slow

ALPHA, BETA = "member/alpha", "member/beta"
ANNA, BERT = "administrator/anna", "administrator/bert"
ONE, TWO = "members/alpha/accounts/one", "members/alpha/accounts/two"
OPTION = "instruments/BTC-64000-C"
PATIENCE_S = 60
VOLATILITY = "feeds/BTCVOL"


@contextmanager
def example(name: str, house: Served, *arguments: str) -> Iterator[IO[str]]:
    """What an example says, run as member alpha; at the end it has ended well by itself."""
    keys = str(house.keys / "clients" / ALPHA)
    command = [sys.executable, "-m", f"examples.{name}", house.address, keys, "members/alpha", *arguments]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())
    impatient = threading.Timer(PATIENCE_S, running.kill)  # so that no line is waited for in vain
    impatient.start()
    try:
        assert running.stdout is not None
        yield running.stdout
        assert running.wait(timeout=30) == 0
    finally:
        impatient.cancel()
        running.kill()
        running.communicate()


def publish(house: Served, sequence: int, bitcoin: str, **others: str) -> None:
    """A quorum of sources publishes a price of bitcoin, and of ``others`` by feed."""
    for source in SOURCES:
        with house.client(f"price-source/{source}") as client:
            prices = {"feeds/BTC": bitcoin, "feeds/ETH": "2000.0"}
            prices |= {f"feeds/{feed}": price for feed, price in others.items()}
            key = signing_key(house.keys, source)
            client.publish_prices(f"sources/{source}", prices, key=key, sequence=sequence)


def deposit(house: Served, account: str, amount: str) -> None:
    """Custody reports that money arrived."""
    with house.client("custodian/vault") as vault:
        vault.collateral.NotifyDeposit(
            collateral_pb.NotifyDepositRequest(
                account=account, asset="assets/USDC", amount=amount, reference=new_id()
            )
        )


def trade(member: Client, instrument: str, *, buyer: str, seller: str, size: str) -> None:
    parent = "/".join(buyer.split("/")[:2])
    made = new_trade(instrument, buyer=buyer, seller=seller, size=size, price="64000.0")
    result = member.submit_trade(parent, made)
    assert result.status == trade_pb.TRADE_STATUS_NOVATED, result


def test_the_perp_dex_opens_an_account_clears_its_matches_and_answers_a_margin_call(tmp_path: Path) -> None:
    with served_house(tmp_path) as house, house.client(ALPHA) as alpha:
        trade(alpha, "BTC-PERP", buyer=ONE, seller=TWO, size="80")
        with example("perp_dex", house) as said:
            opened = f"members/alpha/accounts/{perp_dex.NEWCOMER}"
            assert said.readline() == f"{opened} waits for its first deposit\n"
            deposit(house, opened, "2500")
            assert [said.readline().strip() for _ in range(5)] == [
                f"{opened} got 2500.000000 assets/USDC",
                f"{ONE} holds 998976.000000",
                f"{TWO} holds 998976.000000",
                f"{opened} holds 2500.000000",
                f"{perp_dex.BURST} of {perp_dex.BURST} matches were cleared",
            ]
            publish(house, 2, "60000.0")
            assert said.readline().startswith("nettingSets/alpha~one must bring ")
            assert said.readline() == "cut back by half: novated\n"


def test_the_options_protocol_asks_first_links_and_hears_of_a_margin_call(tmp_path: Path) -> None:
    with served_house(tmp_path) as house, house.client(BETA) as beta:
        list_option(house)
        publish(house, 2, "64000.0", BTCVOL="0.6000")
        hedge = hedged_elsewhere(house, beta)
        with example("options_protocol", house, OPTION, hedge) as said:
            assert said.readline().startswith(f"writing {options_protocol.SIZE} would need ")
            assert said.readline().startswith("TRADE_STATUS_NOVATED at ")
            assert said.readline() == "nettingSets/link~pat is proposed\n"
            beta.accounts.LinkAccounts(
                account_pb.LinkAccountsRequest(
                    parent="members/beta", participant="participants/pat", accounts=[ONE, hedge]
                )
            )
            saved = said.readline().rpartition(" ")[2]
            assert float(saved) > 0
            publish(house, 3, "80000.0", BTCVOL="0.9000")
            assert said.readline().startswith("nettingSets/link~pat must bring ")


def list_option(house: Served) -> None:
    """Two administrators let the margin model move the volatility of bitcoin, and list a call on it."""
    with house.client(ANNA) as anna, house.client(BERT) as bert:
        found = anna.administration.GetParameters(admin_pb.GetParametersRequest())
        next(r for r in found.parameters.scan_ranges if r.underlying == "feeds/BTC").volatility_bp = 2_500
        anna.administration.ProposeParameters(
            admin_pb.ProposeParametersRequest(
                proposal_id="volatility",
                parameters=found.parameters,
                base_version=found.version,
                reason="options are to be listed",
                immediate=True,
            )
        )
        approve(bert, "volatility")
        anna.administration.ProposeChange(
            admin_pb.ProposeChangeRequest(
                proposal_id="call",
                change=admin_pb.Change(
                    list_instrument=admin_pb.ListInstrumentChange(instrument=call_on_bitcoin())
                ),
                reason="members ask for it",
            )
        )
        approve(bert, "call")


def approve(administrator: Client, proposal: str) -> None:
    request = admin_pb.ApproveProposalRequest(name=f"proposals/{proposal}")
    administrator.administration.ApproveProposal(request)


def call_on_bitcoin() -> admin_pb.InstrumentTerms:
    terms = admin_pb.InstrumentTerms(
        name=OPTION,
        kind=house_pb.INSTRUMENT_KIND_OPTION,
        underlying="feeds/BTC",
        feed="feeds/BTC",
        tick_value="0.000100",
        price_decimals=1,
        lot_decimals=3,
        option=admin_pb.NewOptionTerms(
            right=house_pb.OPTION_RIGHT_CALL, strike_price="64000.0", volatility_feed=VOLATILITY
        ),
    )
    terms.expire_time.FromDatetime(datetime.now(UTC).replace(microsecond=0) + timedelta(days=30))
    return terms


def hedged_elsewhere(house: Served, beta: Client) -> str:
    """Pat has bought bitcoin at member beta; the account that holds it."""
    asked = account_pb.OpenAccountRequest(
        parent="members/beta", account_id="two", participant="participants/rob"
    )
    seller = beta.accounts.OpenAccount(asked).name
    deposit(house, seller, "1000000")
    trade(beta, "BTC-PERP", buyer="members/beta/accounts/one", seller=seller, size="20")
    return "members/beta/accounts/one"
