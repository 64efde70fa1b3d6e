"""The items of the CPMI-IOSCO quantitative disclosure: each with its reference number, unit, window and frequency, and
what would have to be known of those that the house cannot compute.

The numbers are the standard's; the titles are in words of our own. The words of 6.4.x and 19.1.x behind their numbers
were not checked against the standard. An item without ``missing`` has a measure (``measures.py``).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

AMOUNT, COUNT, PERCENT, TEXT, TIME = "amount", "number", "percent", "text", "time"
"""Units; an amount is of the settlement asset."""
AT_END = "at the end of the quarter"
QUARTER = "the quarter"
YEAR = "12 months"
IN_FORCE = "as in force"
EACH_DEFAULT = "each default"
FINANCIAL_YEAR = "the financial year"
QUARTERLY, ANNUALLY, ON_CHANGE, AFTER_DEFAULT = "quarterly", "annually", "on change", "after a default"

PRINCIPLES: Mapping[str, str] = {
    "4": "4 Credit risk",
    "5": "5 Collateral",
    "6": "6 Margin",
    "7": "7 Liquidity risk",
    "12": "12 Exchange-of-value settlement systems",
    "13": "13 Participant-default rules and procedures",
    "14": "14 Segregation and portability",
    "15": "15 General business risk",
    "16": "16 Custody and investment risks",
    "17": "17 Operational risk",
    "18": "18 Access and participation requirements",
    "19": "19 Tiered participation arrangements",
    "20": "20 FMI links",
    "23": "23 Disclosure of rules, key procedures, and market data",
}

CASH_FORMS = (
    "cash at the central bank that issues it",
    "cash at other central banks",
    "secured cash at commercial banks, reverse repo too",
    "unsecured cash at commercial banks",
)
OTHER_FORMS = (
    "domestic government bonds",
    "other government bonds",
    "agency bonds",
    "state and municipal bonds",
    "corporate bonds",
    "equities",
    "gold",
    "other commodities",
    "mutual funds and UCITS",
    "anything else",
)

BANKS = "at which banks custody keeps cash"
CLASSES = "the class of each collateral asset"
CREDIT_LINES = "agreements on lines of credit, and how they are secured"
LIQUIDITY = "the qualifying liquid resources of each day (7.1)"
PAYMENTS = "a stress test of payments (what is attested are losses over margin)"
DELIVERY = "records of settlement against delivery (contracts here are settled in cash alone)"
HAIRCUT_POLICY = "the confidence for which haircuts were chosen"
ACCOUNTS = "the audited annual accounts"
INVESTMENTS = "how custody deposits and invests what it holds"
REHYPOTHECATION = "whether custody lends on what it holds"
MEMBERS_KIND = "what kind of institution each member is"
MEMBERS_COUNTRY = "the country of each member"
LINKS = "agreements with other CCPs (the house is linked with none)"
VENUES = "the venue of each trade (a trade names the member that sent it)"
REVIEWS = "the policy on reviewing models"


@dataclass(frozen=True, slots=True)
class Item:
    """An item. ``missing``: the input for want of which it is not computed; empty if it is."""

    ref: str
    title: str
    unit: str
    window: str
    frequency: str = QUARTERLY
    missing: str = ""

    @property
    def principle(self) -> str:
        """The principle of the PFMI that it belongs to."""
        return PRINCIPLES[self.ref.partition(".")[0]]


def _credit() -> Iterator[Item]:
    yield Item("4.1.1", "Prefunded: own capital used before members' money", AMOUNT, AT_END)
    yield Item("4.1.2", "Prefunded: own capital used alongside it", AMOUNT, AT_END)
    yield Item("4.1.3", "Prefunded: own capital used after it", AMOUNT, AT_END)
    yield Item("4.1.4", "Prefunded: contributions required of members", AMOUNT, AT_END)
    yield Item("4.1.5", "Prefunded: contributions that members have paid", AMOUNT, AT_END)
    yield Item("4.1.6", "Prefunded: other, here the insurance fund for one event", AMOUNT, AT_END)
    promised = "what owners have promised the house"
    yield Item("4.1.7", "Committed: own funds or those of owners", AMOUNT, AT_END, missing=promised)
    yield Item("4.1.8", "Committed: by members for a first default", AMOUNT, AT_END)
    yield Item("4.1.9", "Committed: by members to fill the pool up again", AMOUNT, AT_END)
    insured = "what insurers and guarantors have promised the house"
    yield Item("4.1.10", "Committed: other", AMOUNT, AT_END, missing=insured)
    basel = "exposures by the Basel framework (SA-CCR)"
    yield Item("4.2.1", "Hypothetical capital Kccp", AMOUNT, AT_END, missing=basel)
    held = "Prefunded resources held: "
    for number, form in enumerate(CASH_FORMS, 1):
        yield Item(f"4.3.{number}", held + form, AMOUNT, AT_END, missing=BANKS)
    for number, form in enumerate(OTHER_FORMS, 5):
        yield Item(f"4.3.{number}", held + form, AMOUNT, AT_END)
    yield Item("4.3.15", held + "in total", AMOUNT, AT_END)
    yield Item("4.4.1", "Whether prefunded resources are to cover one or two members", TEXT, IN_FORCE)
    one_period = "one close-out period of the stress library (its moves are of hours to days)"
    yield Item("4.4.2", "Close-out period for sizing the pool", "days", IN_FORCE, missing=one_period)
    yield from _cover("4.4.3", "4.4.4", "4.4.5", "4.4.6", "one member")
    yield from _cover("4.4.7", "4.4.8", "4.4.9", "4.4.10", "two members")


def _cover(loss: str, days: str, excess: str, actual: str, whose: str) -> Iterator[Item]:
    yield Item(loss, f"Largest stress loss over margin of {whose} and affiliates", AMOUNT, YEAR)
    yield Item(days, f"Days on which {loss} was above the prefunded resources", "days", YEAR)
    yield Item(excess, f"By how much {loss} was above them, day by day", AMOUNT, YEAR)
    yield Item(actual, f"Largest actual exposure over margin to {whose} and affiliates", AMOUNT, YEAR)


def _collateral() -> Iterator[Item]:
    yield Item("5.1.1", "Assets taken as margin, and their haircuts", PERCENT, IN_FORCE, ON_CHANGE)
    yield Item("5.2.1", "Assets taken as contributions, and their haircuts", PERCENT, IN_FORCE, ON_CHANGE)
    test = "Test of haircuts: "
    yield Item("5.3.1", test + "confidence aimed at", PERCENT, IN_FORCE, missing=HAIRCUT_POLICY)
    yield Item("5.3.2", test + "holding period", "days", IN_FORCE)
    yield Item("5.3.3", test + "look-back period", "days", IN_FORCE)
    yield Item("5.3.4", test + "days on which an asset fell by more than its haircut", "days", YEAR)


def _margin() -> Iterator[Item]:
    yield Item("6.1.1", "Initial margin required", AMOUNT, AT_END)
    held = "Initial margin held: "
    for number, form in enumerate(CASH_FORMS, 1):
        yield Item(f"6.2.{number}", held + form, AMOUNT, AT_END, missing=BANKS)
    for number, form in enumerate(OTHER_FORMS, 5):
        yield Item(f"6.2.{number}", held + form, AMOUNT, AT_END, missing=CLASSES)
    yield Item("6.2.15", held + "in total", AMOUNT, AT_END)
    yield Item("6.3.1", "Initial margin of one lot that is held alone", AMOUNT, IN_FORCE, ON_CHANGE)
    yield from _model()
    for ref, title, unit in (
        ("6.5.1.1", "how often a day's loss was above margin", COUNT),
        ("6.5.1.2", "how often it is measured", TEXT),
        ("6.5.1.3", "at what time of the day", TEXT),
        ("6.5.2", "observations", COUNT),
        ("6.5.3", "coverage achieved", PERCENT),
        ("6.5.4", "largest loss beyond margin", AMOUNT),
        ("6.5.5", "mean loss beyond margin, where there was one", AMOUNT),
    ):
        yield Item(ref, f"Back-test of margin: {title}", unit, YEAR)
    yield Item("6.6.1", "Variation margin paid to the house, mean of the days", AMOUNT, QUARTER)
    yield Item("6.7.1", "Variation margin paid to the house, largest of the days", AMOUNT, QUARTER)
    yield Item("6.8.1", "Margin called, largest of the days", AMOUNT, QUARTER)


def _model() -> Iterator[Item]:
    features = (
        (1, 2, "type", TEXT, ""),
        (4, 5, "confidence level, one-sided", PERCENT, ""),
        (6, 7, "look-back period", TEXT, ""),
        (8, 9, "adjustments of the look-back period", TEXT, ""),
        (10, 11, "close-out period", TEXT, ""),
        (12, 13, "link to rates", TEXT, "where the house publishes its rates"),
        (14, 15, "how often it is reviewed", TEXT, REVIEWS),
    )
    yield Item("6.4.3", "Margin model: name and version", TEXT, IN_FORCE)
    for number, since, what, unit, missing in features:
        yield Item(f"6.4.{number}", f"Margin model: {what}", unit, IN_FORCE, missing=missing)
        yield Item(f"6.4.{since}", f"Margin model: {what}, since when", TIME, IN_FORCE, missing=missing)


def _liquidity() -> Iterator[Item]:
    policy = "the policy on what liquid resources are to cover"
    yield Item("7.1.1", "Whether liquid resources cover one or two members", TEXT, IN_FORCE, missing=policy)
    others = (
        ("secured lines of credit", CREDIT_LINES),
        ("unsecured lines of credit", CREDIT_LINES),
        ("collateral with funding agreed beforehand", "agreements on funding of collateral"),
        ("other", "other resources that qualify"),
    )
    forms = (*((form, BANKS) for form in CASH_FORMS), *others)
    for number, (form, missing) in enumerate(forms, 2):
        yield Item(f"7.1.{number}", f"Liquid resources: {form}", AMOUNT, AT_END, missing=missing)
    access = "whether the house has access to a central bank"
    yield Item("7.1.10", "Routine access to a central bank", TEXT, IN_FORCE, missing=access)
    order = "the policy on the order of payments"
    yield Item("7.1.11", "Order in which payments are made", TEXT, IN_FORCE, missing=order)
    more = "agreements on further liquid resources"
    yield Item("7.2.1", "Further liquid resources", AMOUNT, AT_END, missing=more)
    stressed = "Largest payment due after a default of one member, in stress"
    yield Item("7.3.1", stressed, AMOUNT, YEAR, missing=PAYMENTS)
    yield Item("7.3.2", "Days on which 7.3.1 was above liquid resources", "days", YEAR, missing=LIQUIDITY)
    yield Item("7.3.3", "By how much 7.3.1 was above them", AMOUNT, YEAR, missing=LIQUIDITY)
    yield Item("7.3.4", "Largest payment that one member and affiliates made in a day", AMOUNT, YEAR)
    yield Item("7.3.5", f"{stressed}, by currency", AMOUNT, YEAR, missing=PAYMENTS)
    yield Item("7.3.6", "Days on which 7.3.5 was above liquid resources", "days", YEAR, missing=LIQUIDITY)
    yield Item("7.3.7", "By how much 7.3.5 was above them", AMOUNT, YEAR, missing=LIQUIDITY)


def _settlement() -> Iterator[Item]:
    for group, by in ((1, "value"), (2, "number")):
        for number, how in enumerate(("DvP", "DvD", "PvP"), 1):
            title = f"Share of settlements by {how}, by {by}"
            yield Item(f"12.{group}.{number}", title, PERCENT, QUARTER, missing=DELIVERY)


def _defaults() -> Iterator[Item]:
    for ref, title, unit in (
        ("13.1.1", "Loss, and initial margin of the sets in default", AMOUNT),
        ("13.1.2", "What other resources paid of the loss", AMOUNT),
        ("13.1.3.1", "Client positions of members in default that were closed out", PERCENT),
        ("13.1.3.2", "Client positions of members in default that were ported", PERCENT),
    ):
        yield Item(ref, title, unit, EACH_DEFAULT, AFTER_DEFAULT)
    published = "what was published elsewhere about the default"
    yield Item("13.1.4", "Other publications", TEXT, EACH_DEFAULT, AFTER_DEFAULT, published)


def _segregation() -> Iterator[Item]:
    kinds = ("of one client each", "of several clients", "of several clients, LSOC", "shared with the member")
    for number, kind in enumerate(kinds, 1):
        yield Item(f"14.1.{number}", f"Share of client positions in accounts {kind}", PERCENT, AT_END)


def _business() -> Iterator[Item]:
    for ref, title, unit in (
        ("15.1.1", "Liquid net assets funded by equity", AMOUNT),
        ("15.1.2", "Operating expenses of six months", AMOUNT),
        ("15.2.1", "Revenue", AMOUNT),
        ("15.2.2", "Expenditure", AMOUNT),
        ("15.2.3", "Profit", AMOUNT),
        ("15.2.4", "Assets", AMOUNT),
        ("15.2.5", "Liabilities", AMOUNT),
        ("15.2.6", "Whether collateral stands on the balance sheet", TEXT),
        ("15.2.7", "Anything else", TEXT),
        ("15.3.1", "Share of income that is fees for clearing", PERCENT),
        ("15.3.2", "Share of income from investing what members brought", PERCENT),
    ):
        yield Item(ref, title, unit, FINANCIAL_YEAR, ANNUALLY, ACCOUNTS)


def _investment() -> Iterator[Item]:
    yield Item("16.1.1", "Cash of members, as margin", AMOUNT, AT_END)
    yield Item("16.1.2", "Cash of members, as contributions to the pool", AMOUNT, AT_END)
    forms = (
        ("deposited", PERCENT),
        ("at the central banks that issue it", PERCENT),
        ("at other central banks", PERCENT),
        ("at commercial banks, secured", PERCENT),
        ("at commercial banks, unsecured", PERCENT),
        ("in money market funds", PERCENT),
        ("in other forms", PERCENT),
        ("deposits and funds by currency", PERCENT),
        ("deposits and funds, mean maturity", "days"),
        ("in domestic government bonds", PERCENT),
        ("in other government bonds", PERCENT),
        ("in agency bonds", PERCENT),
        ("in state and municipal bonds", PERCENT),
        ("in other instruments", PERCENT),
        ("securities by currency", PERCENT),
        ("securities, mean maturity", "days"),
        ("risk of the investments (99 %, one day)", AMOUNT),
        ("limit for one counterparty", TEXT),
        ("how often the limit was exceeded", COUNT),
        ("in securities, in total", PERCENT),
    )
    for number, (form, unit) in enumerate(forms, 1):
        yield Item(f"16.2.{number}", f"Cash of members: {form}", unit, AT_END, missing=INVESTMENTS)
    for number, what in enumerate(("margin", "pool", "margin, by maturity", "pool, by maturity"), 1):
        title = f"Collateral that the house pledged on: {what}"
        yield Item(f"16.3.{number}", title, AMOUNT, AT_END, missing=REHYPOTHECATION)


def _operations() -> Iterator[Item]:
    target = "the target for availability"
    yield Item("17.1.1", "Availability aimed at", PERCENT, IN_FORCE, missing=target)
    yield Item("17.2.1", "Availability", PERCENT, YEAR)
    yield Item("17.3.1", "Failures: their number and duration", TEXT, YEAR)
    objective = "the objective for recovery"
    yield Item("17.4.1", "Time to recover aimed at", TEXT, IN_FORCE, missing=objective)


def _access() -> Iterator[Item]:
    yield Item("18.1.1.1", "Members that clear for clients", COUNT, AT_END)
    yield Item("18.1.1.2", "Members that clear for themselves alone", COUNT, AT_END)
    yield Item("18.1.1.3", "Members of another category", COUNT, AT_END)
    for number, kind in enumerate(("central banks", "CCPs", "banks", "others"), 1):
        yield Item(f"18.1.2.{number}", f"Members: {kind}", COUNT, AT_END, missing=MEMBERS_KIND)
    for number, kind in enumerate(("domestic", "foreign"), 1):
        yield Item(f"18.1.3.{number}", f"Members: {kind}", COUNT, AT_END, missing=MEMBERS_COUNTRY)
    shares = (
        (2, "Share of open positions", QUARTER),
        (3, "Share of margin", QUARTER),
        (4, "Share of contributions to the pool", AT_END),
    )
    for group, share, window in shares:
        yield Item(f"18.{group}.1", f"{share} of the largest five of 10 to 24 members", PERCENT, window)
        yield Item(f"18.{group}.2", f"{share} of the largest five of 25 members or more", PERCENT, window)
        yield Item(f"18.{group}.3", f"{share} of the largest ten of 25 members or more", PERCENT, window)


def _tiers() -> Iterator[Item]:
    yield Item("19.1.1", "Clients", COUNT, AT_END)
    yield Item("19.1.2", "Members that clear for clients", COUNT, AT_END)
    for group, most in ((3, "five of 10 members or more"), (4, "ten of 25 members or more")):
        for number, which in enumerate(("peak", "mean"), 1):
            title = f"Share of client trades of the largest {most}, {which}"
            yield Item(f"19.1.{group}.{number}", title, PERCENT, QUARTER)


def _links() -> Iterator[Item]:
    for ref, title, unit, window in (
        ("20.1.1", "Share of trades cleared through each link", PERCENT, QUARTER),
        ("20.2.1", "Margin given to each linked CCP", AMOUNT, AT_END),
        ("20.3.1", "Margin taken from each linked CCP", AMOUNT, AT_END),
        ("20.4.1.1", "Back-test of links: how often a loss was above margin", COUNT, YEAR),
        ("20.4.1.2", "Back-test of links: how often it is measured", TEXT, YEAR),
        ("20.4.1.3", "Back-test of links: at what time of the day", TEXT, YEAR),
        ("20.4.2", "Back-test of links: observations", COUNT, YEAR),
        ("20.4.3", "Back-test of links: coverage achieved", PERCENT, YEAR),
        ("20.5.1.1", "Further resources given to each linked CCP", AMOUNT, AT_END),
        ("20.5.1.2", "Whether they are part of the pool", TEXT, AT_END),
        ("20.6.1.1", "Further resources taken from each linked CCP", AMOUNT, AT_END),
        ("20.6.1.2", "Whether they are part of the pool", TEXT, AT_END),
        ("20.7.1", "Share of trades margined together with another CCP's", PERCENT, QUARTER),
        ("20.7.2", "Margin that this saves", PERCENT, AT_END),
    ):
        yield Item(ref, title, unit, window, missing=LINKS)


def _market() -> Iterator[Item]:
    yield Item("23.1.1", "Volume cleared, mean of the days", COUNT, QUARTER)
    yield Item("23.1.2", "Notional cleared, mean of the days", AMOUNT, QUARTER)
    yield Item("23.2.1", "Notional outstanding, counted once for both sides", AMOUNT, AT_END)
    yield Item("23.3.1", "Volume by venue, mean of the days", COUNT, QUARTER, missing=VENUES)
    yield Item("23.3.2", "Notional by venue, mean of the days", AMOUNT, QUARTER, missing=VENUES)


def _number(item: Item) -> tuple[int, ...]:
    return tuple(int(part) for part in item.ref.split("."))


ITEMS: tuple[Item, ...] = tuple(
    sorted(
        (
            *_credit(),
            *_collateral(),
            *_margin(),
            *_liquidity(),
            *_settlement(),
            *_defaults(),
            *_segregation(),
            *_business(),
            *_investment(),
            *_operations(),
            *_access(),
            *_tiers(),
            *_links(),
            *_market(),
        ),
        key=_number,
    )
)
COVERED = (sum(not item.missing for item in ITEMS), len(ITEMS))
"""How many items are computed, and how many there are."""
