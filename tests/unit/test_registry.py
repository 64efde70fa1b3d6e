"""Who and what there is: founding, listing, admission, links, sources, providers, and every refusal of them."""

from dataclasses import fields, replace
from pathlib import Path
from re import findall
from typing import Any

import pytest

from clearing.decide import registry
from clearing.decide.membership import DISPLAY_NAME_MAX
from clearing.decide.registry import LINK_MAX
from clearing.decide.terms import DECIMALS_MAX, OPEN_NOTIONAL_MAX, PARAMETER_RANGES, TICK_VALUE_MAX
from clearing.decide.treasury import DEPOSIT_MAX
from clearing.model.commands import (
    AcceptPorting,
    AdmitMember,
    ApplyForMembership,
    ApplyPrices,
    ApproveProposal,
    CloseInOutage,
    Command,
    ContributeToPool,
    DeclareDefault,
    Deposit,
    FoundHouse,
    FundHouse,
    GrantRegulator,
    GroupMember,
    HouseMoney,
    ImportHistory,
    LeaveHouse,
    LinkAccounts,
    ListAsset,
    ListInstrument,
    MoveCash,
    OpenAccount,
    PayDue,
    PlaceBid,
    ProposeChange,
    ProposeParameters,
    PublishFunding,
    PullReport,
    RecordAttestation,
    RecordNonDefaultLoss,
    RecordRecovery,
    RecordReport,
    RegisterProvider,
    RegisterSource,
    ReinstateMember,
    RejectProposal,
    ReplaceLostAsset,
    RequestWithdrawal,
    RetireSource,
    RevokeCertificate,
    SendWithdrawal,
    SetBreaker,
    SetJurisdiction,
    SettleWithdrawal,
    SizePool,
    SubmitTrades,
    SuspendMember,
    Tick,
    UnlinkAccounts,
    WindDown,
    WithdrawBid,
)
from clearing.model.house import rows_of
from clearing.model.ids import (
    AccountKey,
    AssetId,
    DefaultId,
    FeedId,
    InstrumentId,
    MemberId,
    ParticipantId,
    RegulatorId,
    SetId,
    SourceId,
    account_key,
    house_account,
    single_set,
)
from clearing.model.outcomes import Reason
from clearing.model.values import (
    BP,
    MINUTE_MS,
    AccountKind,
    AccountStatus,
    Asset,
    BreakerState,
    Form,
    Instrument,
    InstrumentKind,
    MemberStatus,
    NettingSet,
    Offset,
    Parameters,
    ReportAsked,
    ScanRange,
    SignedReport,
)
from tests.builders import (
    ALICE,
    BOB,
    BTC,
    BTC_PERP,
    DESK,
    ETH,
    ETH_FEED,
    ETHER,
    INSTRUMENTS,
    PARAMETERS,
    SETTLEMENT,
    SOURCES,
    START_MS,
    USD,
    USDC,
    World,
    empty_house,
    link,
    perpetual,
    provide,
    public_hex,
    publication,
    source_key,
    two_traders,
    with_provider,
)

DEX, OTHER = MemberId("dex"), MemberId("other")
ALICE_ELSEWHERE = account_key(OTHER, "alice")
ALICE_AGAIN = account_key(DEX, "alice2")
PARTICIPANT = ParticipantId("alice")
ALONE = single_set(ALICE)
NOT_NAMES = ("", "Alice", "-a", "a" * 33, "a/b", "a b", "älice", "a\n", "\ud800", "a_b", "..")
NOT_CODES = ("", "btc", "-A", "A" * 33, "A/B", "A B", "Ä", "A\n", "\ud800", "A_B")


def founding(**changes: Any) -> FoundHouse:
    return FoundHouse(house="testhouse", settlement=SETTLEMENT, parameters=replace(PARAMETERS, **changes))


# ---------------------------------------------------------------------------------------------- the founding


JOURNAL = ReportAsked(report="journal", as_of=1, form=Form.JSON)
COMMANDS: tuple[Command, ...] = (
    ListAsset(asset=ETHER),
    ListInstrument(instrument=INSTRUMENTS[0]),
    ApplyForMembership(member=DEX, name="Dex"),
    AdmitMember(member=DEX, name="Dex"),
    SuspendMember(member=DEX, reason="why"),
    ReinstateMember(member=DEX, reason="why"),
    GroupMember(member=DEX, group="north"),
    SetJurisdiction(member=DEX, jurisdiction="CH"),
    GrantRegulator(regulator=RegulatorId("rita"), jurisdictions=("CH", "DE")),
    LeaveHouse(member=DEX),
    OpenAccount(member=DEX, account="a", participant=PARTICIPANT),
    LinkAccounts(member=DEX, participant=PARTICIPANT, accounts=(ALICE, ALICE_AGAIN)),
    UnlinkAccounts(member=DEX, participant=PARTICIPANT),
    AcceptPorting(member=DEX, netting_set=SetId("other/alice"), account="alice"),
    ProposeParameters(proposal="p", parameters=PARAMETERS, reason="why"),
    ProposeChange(proposal="p", command="SizePool", body="{}", reason="why"),
    ApproveProposal(proposal="p"),
    RejectProposal(proposal="p", reason="why"),
    SetBreaker(scope="*", state=BreakerState.HALTED, reason="why"),
    CloseInOutage(default=DefaultId("d1"), reason="why"),
    RegisterSource(source=SOURCES[0], public_key=public_hex(source_key(SOURCES[0]))),
    RetireSource(source=SOURCES[0]),
    ImportHistory(underlying=BTC, first_day="2020-01-01", moves_ppm=(-20_000,)),
    RegisterProvider(account=DESK, capacity_minor=1),
    PlaceBid(auction="a1", account=DESK, discount_bp=0, share_bp=1),
    WithdrawBid(auction="a1", account=DESK),
    FundHouse(into=HouseMoney.CAPITAL, amount_minor=1),
    Deposit(account=ALICE, asset=USDC, amount_minor=1),
    RequestWithdrawal(withdrawal="w", account=ALICE, asset=USDC, amount_minor=1),
    SendWithdrawal(withdrawal="w"),
    SettleWithdrawal(withdrawal="w", paid=True),
    MoveCash(member=DEX, source=ALICE, target=BOB, amount_minor=1),
    SizePool(),
    ContributeToPool(member=DEX, amount_minor=1),
    ApplyPrices(source=SOURCES[0], observed_ms=START_MS, sequence=1, prices=(), signature=""),
    PublishFunding(instrument=BTC_PERP, rate_ppm=1),
    SubmitTrades(member=DEX, trades=()),
    PayDue(member=DEX),
    RecordRecovery(default=DefaultId("d1"), amount_minor=1),
    RecordNonDefaultLoss(asset=USDC, amount_minor=1, reason="why"),
    ReplaceLostAsset(asset=USDC, amount_minor=1),
    RecordAttestation(sequence=1, cycle=1, tree_size=1, payload_sha256="00" * 32, envelope=""),
    PullReport(asked=JOURNAL),
    RecordReport(signed=SignedReport(asked=JOURNAL, sha256="00" * 32, size=1, envelope="{}")),
    Tick(),
    WindDown(reason="why"),
    RevokeCertificate(serial="1f", reason="why"),
    DeclareDefault(member=DEX, reason="why"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: type(c).__name__)
def test_nothing_is_decided_before_the_house_is_founded(command: Command) -> None:
    assert World().reason(command) == Reason.HOUSE_NOT_FOUNDED.name


def test_every_command_but_the_founding_itself_waits_for_it() -> None:
    assert {type(c) for c in COMMANDS} | {FoundHouse} == set(Command.__args__)


def test_a_house_is_founded_once() -> None:
    world = empty_house()
    assert world.reason(founding()) == Reason.HOUSE_ALREADY_FOUNDED.name
    assert world.state.founded.house == "testhouse"
    assert world.state.settlement == USDC


@pytest.mark.parametrize("name", NOT_NAMES)
def test_the_name_of_a_house_is_a_name(name: str) -> None:
    assert World().reason(replace(founding(), house=name)) == Reason.NAME_MALFORMED.name


@pytest.mark.parametrize("code", NOT_CODES)
def test_the_settlement_asset_has_a_code(code: str) -> None:
    asset = replace(SETTLEMENT, id=AssetId(code))
    assert World().reason(replace(founding(), settlement=asset)) == Reason.NAME_MALFORMED.name


@pytest.mark.parametrize(
    "change",
    [
        {"feed": BTC, "tick_value_minor": 1},
        {"haircut_bp": 1},
        {"concentration_minor": 1},
        {"decimals": -1},
        {"tick_value_minor": 1},
    ],
)
def test_the_settlement_asset_is_worth_itself(change: dict[str, Any]) -> None:
    asset = replace(SETTLEMENT, **change)
    assert World().reason(replace(founding(), settlement=asset)) == Reason.TERM_OUT_OF_RANGE.name


def test_every_number_among_the_parameters_has_a_range() -> None:
    numbers = {f.name for f in fields(Parameters) if isinstance(getattr(PARAMETERS, f.name), int)}
    assert set(PARAMETER_RANGES) == numbers


@pytest.mark.parametrize("name", PARAMETER_RANGES)
def test_a_parameter_may_stand_at_the_ends_of_its_range_and_not_beyond(name: str) -> None:
    low, high = PARAMETER_RANGES[name]
    for value in (low, high):
        World().ok(founding(**{name: value}))
    for value in (low - 1, high + 1, 10**4_000):
        assert World().reason(founding(**{name: value})) == Reason.TERM_OUT_OF_RANGE.name


def capped(lower_minor: int, upper_minor: int) -> ScanRange:
    return ScanRange(
        underlying=BTC,
        move_bp=1,
        open_notional_lower_minor=lower_minor,
        open_notional_upper_minor=upper_minor,
    )


CAPS_OUT_OF_ORDER = ((-1, 5), (5, 5), (6, 5), (5, 0), (0, OPEN_NOTIONAL_MAX + 1))


@pytest.mark.parametrize(("lower", "upper"), [(0, 0), (0, 1), (5, 6), (1, OPEN_NOTIONAL_MAX)])
def test_open_notional_has_two_caps_in_order_or_none(lower: int, upper: int) -> None:
    World().ok(founding(scan_ranges=(capped(lower, upper), PARAMETERS.scan_ranges[1])))


@pytest.mark.parametrize(
    "change",
    [
        {"margin_model": "none"},
        {"scan_ranges": (ScanRange(underlying=BTC, move_bp=0),)},
        {"scan_ranges": (ScanRange(underlying=BTC, move_bp=10 * BP + 1),)},
        {"scan_ranges": (ScanRange(underlying=BTC, move_bp=1), ScanRange(underlying=BTC, move_bp=2))},
        {"scan_ranges": (ScanRange(underlying=FeedId("B\n1"), move_bp=1),)},
        *({"scan_ranges": (capped(lower, upper),)} for lower, upper in CAPS_OUT_OF_ORDER),
        {"offsets": (Offset(first=BTC, second=BTC, rate_bp=1),)},
        {"offsets": (Offset(first=BTC, second=ETH_FEED, rate_bp=BP + 1),)},
        {"offsets": (Offset(first=BTC, second=ETH_FEED, rate_bp=-1),)},
        {"offsets": (Offset(first=BTC, second=FeedId("SOL"), rate_bp=1),)},
        {"offsets": (Offset(first=BTC, second=ETH_FEED, rate_bp=1),) * 2},
    ],
    ids=str,
)
def test_parameters_with_which_no_margin_could_be_computed_are_refused(change: dict[str, Any]) -> None:
    assert World().reason(founding(**change)) == Reason.TERM_OUT_OF_RANGE.name


def test_an_underlying_stands_in_one_offset_only_or_splitting_an_account_would_pay() -> None:
    sol = FeedId("SOL")
    ranges = (*PARAMETERS.scan_ranges, ScanRange(underlying=sol, move_bp=2_000))
    twice = (
        Offset(first=BTC, second=ETH_FEED, rate_bp=1_000),
        Offset(first=BTC, second=sol, rate_bp=9_000),
    )
    assert World().reason(founding(scan_ranges=ranges, offsets=twice)) == Reason.TERM_OUT_OF_RANGE.name


# -------------------------------------------------------------------------------------- assets and instruments


@pytest.mark.parametrize("code", NOT_CODES)
def test_an_asset_has_a_code(code: str) -> None:
    asset = replace(ETHER, id=AssetId(code))
    assert empty_house().reason(ListAsset(asset=asset)) == Reason.NAME_MALFORMED.name


@pytest.mark.parametrize(
    "change", [{"feed": "eth"}, {"feed": "ETH 2000\nBTC"}, {"issuer": "Dex"}, {"issuer": "\ud800"}], ids=str
)
def test_an_assets_feed_and_issuer_have_names(change: dict[str, Any]) -> None:
    """A feed stands in what sources sign, one a line: a space or a line end in it could mean another price."""
    asset = replace(ETHER, id=AssetId("NEW"), **change)
    assert empty_house().reason(ListAsset(asset=asset)) == Reason.NAME_MALFORMED.name


def test_an_asset_is_listed_once_and_never_under_the_name_of_an_instrument() -> None:
    world = empty_house()
    for taken in (ETH, USDC, AssetId(BTC_PERP)):
        asset = replace(ETHER, id=taken)
        assert world.reason(ListAsset(asset=asset)) == Reason.ALREADY_EXISTS.name


@pytest.mark.parametrize(
    ("change", "is_listed"),
    [
        ({"decimals": 0}, True),
        ({"decimals": -1}, False),
        ({"decimals": DECIMALS_MAX}, True),
        ({"decimals": DECIMALS_MAX + 1}, False),
        ({"decimals": 10**9}, False),
        ({"tick_value_minor": 0}, False),
        ({"tick_value_minor": -1}, False),
        ({"tick_value_minor": TICK_VALUE_MAX}, True),
        ({"tick_value_minor": TICK_VALUE_MAX + 1}, False),
        ({"haircut_bp": -1}, False),
        ({"haircut_bp": 0}, True),
        ({"haircut_bp": BP}, True),
        ({"haircut_bp": BP + 1}, False),
        ({"concentration_minor": -1}, False),
        ({"concentration_haircut_bp": 1}, False),
        ({"concentration_minor": 1, "concentration_haircut_bp": 1_999}, False),
        ({"concentration_minor": 1, "concentration_haircut_bp": 2_000}, True),
        ({"concentration_minor": DEPOSIT_MAX, "concentration_haircut_bp": BP}, True),
        ({"concentration_minor": DEPOSIT_MAX + 1, "concentration_haircut_bp": BP}, False),
        ({"concentration_minor": 1, "concentration_haircut_bp": BP + 1}, False),
        ({"feed": None}, False),
        ({"feed": None, "tick_value_minor": 0}, True),
    ],
    ids=str,
)
def test_the_terms_of_an_asset_have_ranges(change: dict[str, Any], is_listed: bool) -> None:
    world = empty_house()
    outcome = world.do(ListAsset(asset=replace(ETHER, id=AssetId("NEW"), **change)))
    assert outcome.results[0].reason == ("" if is_listed else Reason.TERM_OUT_OF_RANGE.name)


def test_an_asset_that_nothing_marks_is_held_and_counts_nothing() -> None:
    world = two_traders()
    world.ok(ListAsset(asset=Asset(id=AssetId("ROCK"), decimals=0)))
    world.deposit(ALICE, 10**6, AssetId("ROCK"))
    assert world.measured(ALICE).equity_minor == 2_000 * USD


@pytest.mark.parametrize("code", NOT_CODES)
def test_an_instrument_and_its_feed_have_codes(code: str) -> None:
    world = empty_house()
    named = replace(INSTRUMENTS[0], id=InstrumentId(code))
    assert world.reason(ListInstrument(instrument=named)) == Reason.NAME_MALFORMED.name
    fed = replace(INSTRUMENTS[0], id=InstrumentId("NEW"), feed=FeedId(code))
    assert world.reason(ListInstrument(instrument=fed)) == Reason.NAME_MALFORMED.name


def test_an_instrument_is_listed_once_and_never_under_the_name_of_an_asset() -> None:
    world = empty_house()
    for taken in (BTC_PERP, InstrumentId(USDC), InstrumentId(ETH)):
        again = replace(INSTRUMENTS[0], id=taken)
        assert world.reason(ListInstrument(instrument=again)) == Reason.ALREADY_EXISTS.name


def test_an_instrument_needs_a_scan_range_for_its_underlying() -> None:
    sol = perpetual(InstrumentId("SOL-PERP"), FeedId("SOL"), 1, 1)
    assert empty_house().reason(ListInstrument(instrument=sol)) == Reason.FEED_UNKNOWN.name


FUTURE = {"kind": InstrumentKind.FUTURE}


@pytest.mark.parametrize(
    ("change", "is_listed"),
    [
        ({"tick_value_minor": 0}, False),
        ({"tick_value_minor": -100}, False),
        ({"tick_value_minor": 1}, True),
        ({"tick_value_minor": TICK_VALUE_MAX}, True),
        ({"tick_value_minor": TICK_VALUE_MAX + 1}, False),
        ({"price_decimals": -1}, False),
        ({"lot_decimals": -1}, False),
        ({"price_decimals": DECIMALS_MAX, "lot_decimals": DECIMALS_MAX}, True),
        ({"price_decimals": DECIMALS_MAX + 1}, False),
        ({"lot_decimals": DECIMALS_MAX + 1}, False),
        ({"expires_ms": START_MS + 1}, False),
        ({**FUTURE, "expires_ms": START_MS + 1}, True),
        ({**FUTURE, "expires_ms": START_MS}, False),
        ({**FUTURE, "expires_ms": None}, False),
    ],
    ids=str,
)
def test_the_terms_of_an_instrument_have_ranges(change: dict[str, Any], is_listed: bool) -> None:
    world = empty_house()
    instrument: Instrument = replace(INSTRUMENTS[0], id=InstrumentId("NEW"), feed=FeedId("NEW"), **change)
    outcome = world.do(ListInstrument(instrument=instrument))
    assert outcome.results[0].reason == ("" if is_listed else Reason.TERM_OUT_OF_RANGE.name)


def test_an_instrument_listed_after_a_cycle_trades_from_the_next_one_on() -> None:
    world = two_traders()
    late = InstrumentId("BTC-LATE")
    world.ok(ListInstrument(instrument=perpetual(late, BTC, 100, 3)))
    assert world.trade(ALICE, BOB, 1, 80_000, late).results[0].reason == Reason.INSTRUMENT_NOT_ACTIVE.name
    world.prices(BTC=80_000, ETH=2_000)
    assert world.trade(ALICE, BOB, 1, 80_000, late).accepted


def test_an_instrument_on_a_feed_without_prices_leaves_what_is_open_as_it_is() -> None:
    world = two_traders()
    world.trade(ALICE, BOB, 10, 80_000)
    solana = FeedId("BTC-INDEX")
    world.ok(ListInstrument(instrument=replace(perpetual(InstrumentId("NEW"), BTC, 1, 1), feed=solana)))
    assert world.trade(ALICE, BOB, 1, 80_000).accepted
    world.prices(**{"BTC": 80_100, "ETH": 2_000, "BTC-INDEX": 5})
    assert world.trade(ALICE, BOB, 1, 5, InstrumentId("NEW")).accepted


# ---------------------------------------------------------------------------------------- members and accounts


@pytest.mark.parametrize("name", NOT_NAMES)
def test_members_accounts_and_participants_have_names(name: str) -> None:
    world = two_traders()
    assert world.reason(AdmitMember(member=MemberId(name), name="x")) == Reason.NAME_MALFORMED.name
    for account, participant in ((name, "new"), ("new", name)):
        command = OpenAccount(member=DEX, account=account, participant=ParticipantId(participant))
        assert world.reason(command) == Reason.NAME_MALFORMED.name


def test_a_member_is_admitted_once_with_a_house_account_of_its_own() -> None:
    world = two_traders()
    assert world.reason(AdmitMember(member=DEX, name="Again")) == Reason.ALREADY_EXISTS.name
    own = world.state.accounts[house_account(DEX)]
    assert own.kind is AccountKind.HOUSE
    assert (own.participant, own.netting_set) == (ParticipantId("dex"), SetId("dex/house"))


@pytest.mark.parametrize(
    "name", ["", "a" * (DISPLAY_NAME_MAX + 1), "two\nlines", "\ud800", "\x00"], ids=ascii
)
def test_the_name_by_which_people_know_a_member_can_be_shown(name: str) -> None:
    assert empty_house().reason(AdmitMember(member=DEX, name=name)) == Reason.NAME_MALFORMED.name


def test_a_member_may_be_known_by_any_printable_name_up_to_the_limit() -> None:
    empty_house().ok(AdmitMember(member=DEX, name="Größte Börse, №1 " + "x" * (DISPLAY_NAME_MAX - 17)))


def test_no_member_is_called_as_the_netting_sets_of_links_are() -> None:
    """Its account ``link/alice`` would be the very set of alice's linked accounts."""
    assert empty_house().reason(AdmitMember(member=MemberId("link"), name="x")) == Reason.NAME_MALFORMED.name


def test_an_account_is_opened_once_at_a_member_that_is_there() -> None:
    world = two_traders()
    new = OpenAccount(member=DEX, account="alice", participant=PARTICIPANT)
    assert world.reason(new) == Reason.ALREADY_EXISTS.name
    assert world.reason(replace(new, account="house")) == Reason.ALREADY_EXISTS.name
    assert world.reason(replace(new, member=MemberId("nobody"))) == Reason.MEMBER_UNKNOWN.name
    assert world.reason(replace(new, member=MemberId("dex/alice"))) == Reason.MEMBER_UNKNOWN.name
    account = world.state.accounts[ALICE]
    assert (account.kind, account.netting_set) == (AccountKind.CLIENT, ALONE)
    assert world.state.netting_sets[account.netting_set].accounts == (ALICE,)


def failed_member(world: World) -> None:
    """Carol leaves a hole at dex, which has nothing to answer with, and is in default."""
    carol = world.account("dex", "carol")
    world.deposit(carol, 140 * USD)
    world.deposit(BOB, 10_000 * USD)
    assert world.trade(carol, BOB, 100, 80_000).accepted
    world.prices(BTC=65_000, ETH=2_000)
    world.wait(60 * MINUTE_MS)
    assert world.state.members[DEX].status is MemberStatus.DEFAULTED
    assert world.state.accounts[carol].status is AccountStatus.CLOSED_OUT


def test_a_member_in_default_opens_no_accounts_and_registers_no_providers() -> None:
    world = with_provider(two_traders())
    failed_member(world)
    new = OpenAccount(member=DEX, account="new", participant=PARTICIPANT)
    assert world.reason(new) == Reason.MEMBER_NOT_ACTIVE.name
    provider = RegisterProvider(account=ALICE, capacity_minor=1)
    assert world.reason(provider) == Reason.MEMBER_NOT_ACTIVE.name


# ----------------------------------------------------------------------------------------------------- links


def two_homes() -> World:
    """Alice and bob at dex, alice at another member too."""
    world = two_traders()
    world.ok(AdmitMember(member=OTHER, name="Other"))
    world.account("other", "alice")
    world.account("dex", "alice2", "alice")
    return world


def linking(*accounts: AccountKey, member: MemberId = DEX) -> LinkAccounts:
    return LinkAccounts(member=member, participant=PARTICIPANT, accounts=accounts)


def test_a_link_holds_once_every_member_concerned_has_asked_for_the_same() -> None:
    world = two_homes()
    world.ok(linking(ALICE, ALICE_ELSEWHERE))
    assert world.state.accounts[ALICE].netting_set == ALONE
    world.ok(linking(ALICE_ELSEWHERE, ALICE, member=OTHER))
    linked = SetId("link/alice")
    assert world.state.accounts[ALICE].netting_set == linked
    assert world.state.netting_sets[linked] == NettingSet(
        id=linked, participant=PARTICIPANT, accounts=(ALICE, ALICE_ELSEWHERE)
    )
    assert ALONE not in world.state.netting_sets
    assert not world.state.proposals


def test_a_link_inside_one_member_holds_at_once() -> None:
    world = two_homes()
    world.ok(linking(ALICE, ALICE_AGAIN))
    assert world.measured("link/alice").cash_minor == 2_000 * USD


def test_a_proposal_for_other_accounts_starts_afresh() -> None:
    """Who agreed to one set of accounts has not agreed to another."""
    world = two_homes()
    world.ok(linking(ALICE, ALICE_ELSEWHERE))
    world.ok(linking(ALICE, ALICE_AGAIN, ALICE_ELSEWHERE, member=OTHER))
    assert world.state.accounts[ALICE].netting_set == ALONE
    world.ok(linking(ALICE, ALICE_AGAIN, ALICE_ELSEWHERE))
    assert len(world.state.netting_sets[world.state.accounts[ALICE].netting_set].accounts) == 3


def test_a_link_takes_two_accounts_to_sixty_four_each_once() -> None:
    world = two_homes()
    keys = [world.account("dex", f"a{n}", "alice") for n in range(LINK_MAX)]
    for wrong in ((), (ALICE,), (ALICE, ALICE), (*keys, ALICE)):
        assert world.reason(linking(*wrong)) == Reason.LINK_TOO_SMALL.name
    world.ok(linking(*keys))


def test_only_known_client_accounts_of_the_participant_are_linked() -> None:
    world = two_homes()
    assert world.reason(linking(ALICE, AccountKey("dex/no"))) == Reason.ACCOUNT_UNKNOWN.name
    assert world.reason(linking(ALICE, BOB)) == Reason.PARTICIPANT_DIFFERS.name
    world.account("dex", "dex")
    own = replace(linking(house_account(DEX), AccountKey("dex/dex")), participant=ParticipantId("dex"))
    assert world.reason(own) == Reason.PARTICIPANT_DIFFERS.name


def test_a_member_links_nothing_that_is_all_at_others() -> None:
    command = linking(ALICE, ALICE_AGAIN, member=OTHER)
    assert two_homes().reason(command) == Reason.ACCOUNT_NOT_YOURS.name


def test_a_linked_account_is_not_linked_again() -> None:
    world = two_homes()
    link(world, "alice", ALICE, ALICE_AGAIN)
    assert world.reason(linking(ALICE, ALICE_ELSEWHERE)) == Reason.ACCOUNT_LINKED.name


def test_a_second_link_of_a_participant_cannot_take_the_place_of_its_first() -> None:
    """Or alice's positions would belong to a set that does not know them, and need no margin."""
    world = two_homes()
    link(world, "alice", ALICE, ALICE_AGAIN)
    world.trade(ALICE, BOB, 100, 80_000)
    third = world.account("other", "alice3", "alice")
    command = linking(ALICE_ELSEWHERE, third, member=OTHER)
    assert world.reason(command) == Reason.ALREADY_EXISTS.name
    assert world.measured("link/alice").requirement_minor == 130 * USD


def test_a_set_in_liquidation_is_not_linked() -> None:
    world = with_provider(two_homes())
    world.deposit(BOB, 10_000 * USD)
    world.trade(ALICE, BOB, 1_500, 80_000)
    world.prices(BTC=74_000, ETH=2_000)
    assert world.state.liquidations
    assert world.reason(linking(ALICE, ALICE_AGAIN)) == Reason.REDUCE_ONLY.name


def test_a_set_with_an_open_call_is_not_linked_for_its_due_time_never_moves() -> None:
    world = two_homes()
    world.deposit(BOB, 10_000 * USD)
    world.trade(ALICE, BOB, 1_500, 80_000)
    world.ok(linking(ALICE, ALICE_ELSEWHERE))
    world.prices(BTC=79_000, ETH=2_000)
    assert world.reason(linking(ALICE, ALICE_AGAIN)) == Reason.CALL_OPEN.name
    assert world.reason(linking(ALICE, ALICE_ELSEWHERE, member=OTHER)) == Reason.OTHER_NOT_LINKABLE.name
    world.deposit(ALICE, 100 * USD)
    world.ok(linking(ALICE, ALICE_ELSEWHERE, member=OTHER))


def test_a_proposal_says_nothing_of_how_accounts_of_others_stand() -> None:
    """Or whoever asks for a link would learn of a call, a liquidation or a link at another member."""
    calm, called, linked = two_homes(), two_homes(), two_homes()
    called.deposit(BOB, 10_000 * USD)
    called.trade(ALICE, BOB, 1_500, 80_000)
    called.prices(BTC=79_000, ETH=2_000)
    link(linked, "alice", ALICE, ALICE_AGAIN)
    asked = linking(ALICE, ALICE_ELSEWHERE, member=OTHER)
    one, other = calm.ok(asked), called.ok(asked)
    assert (one.results, one.events) == (other.results, other.events)
    assert linked.reason(asked) == Reason.ALREADY_EXISTS.name, (
        "a participant has one link, which is no secret"
    )


@pytest.mark.parametrize("other", ["dex/no", "dex/bob", "dex/house", "nobody/one"])
def test_an_account_of_another_member_that_cannot_be_linked_is_not_told_from_one_that_is_not_there(
    other: str,
) -> None:
    outcome = two_homes().do(linking(ALICE_ELSEWHERE, AccountKey(other), member=OTHER))
    (result,) = outcome.results
    assert (result.reason, result.detail) == (Reason.OTHER_NOT_LINKABLE.name, other)


def test_an_account_that_was_closed_out_is_not_linked() -> None:
    """A set that counts as closed out is measured no more: the other accounts in it would escape."""
    world = with_provider(two_homes())
    world.deposit(house_account(DEX), 10_000 * USD)
    world.trade(ALICE, BOB, 1_500, 80_000)
    world.deposit(BOB, 10_000 * USD)
    world.prices(BTC=60_000, ETH=2_000)
    world.do(PayDue(member=DEX))
    assert world.reason(linking(ALICE_AGAIN, ALICE)) == Reason.ACCOUNT_CLOSED_OUT.name


def test_no_set_changes_while_a_loss_is_being_allocated() -> None:
    """Bob won in the window; the haircut of tier 8 must find the set that won."""
    world = two_homes()
    other_bob = world.account("other", "bob")
    world.deposit(BOB, 10_000 * USD)
    world.trade(ALICE, BOB, 1_500, 80_000)
    world.prices(BTC=60_000, ETH=2_000)
    both = LinkAccounts(member=OTHER, participant=ParticipantId("bob"), accounts=(BOB, other_bob))
    assert world.reason(both) == Reason.DEFAULT_OPEN.name
    world.wait(60 * MINUTE_MS)
    assert [d.gains[0].netting_set for d in world.state.defaults.values()] == [single_set(BOB)]
    world.prices(BTC=60_000, ETH=2_000)
    assert world.reason(replace(both, member=DEX)) == Reason.MEMBER_NOT_ACTIVE.name


# ------------------------------------------------------------------------------------- sources and providers


@pytest.mark.parametrize("name", NOT_NAMES)
def test_a_source_has_a_name(name: str) -> None:
    command = RegisterSource(source=SourceId(name), public_key=public_hex(source_key(SourceId("new"))))
    assert empty_house().reason(command) == Reason.NAME_MALFORMED.name


@pytest.mark.parametrize(
    "key", ["", "0" * 64, "01" + "00" * 31, "f" * 64, "AB" * 32, "ab" * 31, "ab" * 33, "g" * 64, " " * 64]
)
def test_a_weak_or_misspelt_key_is_refused(key: str) -> None:
    command = RegisterSource(source=SourceId("new"), public_key=key)
    assert empty_house().reason(command) == Reason.PUBLIC_KEY_UNSOUND.name


def test_a_source_and_its_key_are_registered_once() -> None:
    """One key under three names would be a quorum by itself."""
    world = empty_house()
    known = public_hex(source_key(SOURCES[0]))
    again = RegisterSource(source=SOURCES[0], public_key=public_hex(source_key(SourceId("new"))))
    assert world.reason(again) == Reason.ALREADY_EXISTS.name
    twin = RegisterSource(source=SourceId("twin"), public_key=known)
    assert world.reason(twin) == Reason.ALREADY_EXISTS.name


def test_a_provider_is_an_account_with_a_capacity() -> None:
    world = two_traders()
    assert world.reason(RegisterProvider(account=DESK, capacity_minor=1)) == Reason.ACCOUNT_UNKNOWN.name
    for capacity, reason in (
        (0, Reason.AMOUNT_NOT_POSITIVE),
        (-1, Reason.AMOUNT_NOT_POSITIVE),
        (DEPOSIT_MAX + 1, Reason.AMOUNT_TOO_LARGE),
        (10**4_000, Reason.AMOUNT_TOO_LARGE),
    ):
        assert world.reason(RegisterProvider(account=ALICE, capacity_minor=capacity)) == reason.name
    provide(world, ALICE, DEPOSIT_MAX)
    again = RegisterProvider(account=ALICE, capacity_minor=DEPOSIT_MAX)
    assert world.reason(again) == Reason.PROVIDER_KNOWN.name
    provide(world, ALICE, 1)
    assert world.state.providers[ALICE].capacity_minor == 1


def test_an_account_that_was_closed_out_is_no_provider() -> None:
    world = with_provider(two_homes())
    world.deposit(house_account(DEX), 10_000 * USD)
    world.trade(ALICE, BOB, 1_500, 80_000)
    world.deposit(BOB, 10_000 * USD)
    world.prices(BTC=60_000, ETH=2_000)
    provider = RegisterProvider(account=ALICE, capacity_minor=1)
    assert world.reason(provider) == Reason.ACCOUNT_CLOSED_OUT.name


def test_a_retired_source_publishes_no_more_and_what_it_said_no_longer_counts() -> None:
    """A fourth source makes up for the one that is retired; the other two alone are no quorum."""
    world = two_traders()
    delta = SourceId("delta")
    world.ok(RegisterSource(source=delta, public_key=public_hex(source_key(delta))))
    world.now_ms += 1_000
    said = {BTC: 81_000, FeedId("ETH"): 2_000}
    world.ok(publication("testhouse", SOURCES[0], world.now_ms, 2, said))
    world.ok(RetireSource(source=SOURCES[0]))
    assert SOURCES[0] not in {one.source for one in world.state.observations.values()}
    late = publication("testhouse", SOURCES[0], world.now_ms, 3, said)
    assert world.reason(late) == Reason.SOURCE_RETIRED.name
    for source in SOURCES[1:]:
        world.ok(publication("testhouse", source, world.now_ms, 2, said))
    assert world.state.newest_cycle.number == 1
    world.ok(publication("testhouse", delta, world.now_ms, 2, said))
    assert world.state.newest_cycle.number == 2


def test_a_source_is_retired_once_and_neither_its_name_nor_its_key_comes_back() -> None:
    world = empty_house()
    nobody = RetireSource(source=SourceId("nobody"))
    assert world.reason(nobody) == Reason.SOURCE_UNKNOWN.name
    world.ok(RetireSource(source=SOURCES[0]))
    assert world.reason(RetireSource(source=SOURCES[0])) == Reason.SOURCE_RETIRED.name
    key = public_hex(source_key(SOURCES[0]))
    for name in (SOURCES[0], SourceId("again")):
        again = RegisterSource(source=name, public_key=key)
        assert world.reason(again) == Reason.ALREADY_EXISTS.name


def test_every_reason_of_the_registry_is_tested_here() -> None:
    given = findall(r"Reason\.([A-Z_]+)", Path(registry.__file__).read_text(encoding="utf-8"))
    tested = findall(r"Reason\.([A-Z_]+)", Path(__file__).read_text(encoding="utf-8"))
    assert set(given) <= set(tested)


def test_a_refusal_leaves_every_row_as_it_was() -> None:
    world = two_homes()
    before = rows_of(world.state)
    world.reason(linking(ALICE, BOB))
    assert rows_of(world.state) == before


@pytest.mark.parametrize("digest", ["", "00" * 31, "AB" * 32, "zz" * 32, "00" * 33])
def test_an_attestation_without_a_digest_of_its_payload_is_refused(digest: str) -> None:
    """The next one is chained to it: a digest that is none would stop them all."""
    recorded = RecordAttestation(sequence=1, cycle=1, tree_size=1, payload_sha256=digest, envelope="{}")
    assert two_traders().reason(recorded) == Reason.NAME_MALFORMED.name


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (replace(JOURNAL, report="../journal"), Reason.NAME_MALFORMED),
        (replace(JOURNAL, as_of=0), Reason.TERM_OUT_OF_RANGE),
        (replace(JOURNAL, as_of=1_000_000), Reason.TERM_OUT_OF_RANGE),
    ],
)
def test_a_report_of_what_is_not_there_is_not_pulled_nor_signed(asked: ReportAsked, reason: Reason) -> None:
    world = two_traders()
    assert world.reason(PullReport(asked=asked)) == reason.name
    signed = SignedReport(asked=asked, sha256="00" * 32, size=1, envelope="{}")
    assert world.reason(RecordReport(signed=signed)) == reason.name


def test_a_report_without_a_digest_is_not_signed() -> None:
    world = two_traders()
    signed = SignedReport(asked=replace(JOURNAL, as_of=world.state.size), sha256="0", size=1, envelope="{}")
    assert world.reason(RecordReport(signed=signed)) == Reason.NAME_MALFORMED.name


def test_a_report_is_of_all_entries_before_its_pull() -> None:
    world = two_traders()
    size = world.state.size
    asked = replace(JOURNAL, as_of=size)
    assert world.ok(PullReport(asked=asked), "regulator/rita").events[0].subject == f"journal@{size}"
    assert (world.state.size, world.state.pull, world.entries[-1].actor) == (
        size + 1,
        asked,
        "regulator/rita",
    )
    assert world.reason(PullReport(asked=replace(asked, as_of=size + 2))) == Reason.TERM_OUT_OF_RANGE.name
