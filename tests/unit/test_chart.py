"""The chart of accounts is that of rulebook §3, and ``clearing/chart.py`` is the only place that spells it."""

import ast
from pathlib import Path
from re import compile as pattern

import pytest

from clearing import chart
from clearing.model.ids import AssetId, DefaultId, InstrumentId, MemberId, account_key
from ledger.account import Account, Limit, Side
from tests.builders import World, contribute, fund, two_traders

ROOT = Path(__file__).parents[2]
KEY = account_key(MemberId("m"), "a")
SETTLEMENT, OTHER, INSTRUMENT = AssetId("USDC"), AssetId("ETH"), InstrumentId("BTC-PERP")
MEMBER, EVENT = MemberId("m"), DefaultId("d1")
FREE, NEVER_OVERDRAWN = Limit.NONE, Limit.DEBITS_MUST_NOT_EXCEED_CREDITS
NEVER_BELOW_ZERO = Limit.CREDITS_MUST_NOT_EXCEED_DEBITS

CHART: list[tuple[Account, str, str, Side, Limit]] = [
    (chart.custody(SETTLEMENT), "custody", "USDC", Side.DEBIT, NEVER_BELOW_ZERO),
    (chart.custody(OTHER), "custody", "ETH", Side.DEBIT, NEVER_BELOW_ZERO),
    (chart.cash(KEY, SETTLEMENT), "members/m/accounts/a/cash", "USDC", Side.CREDIT, FREE),
    (chart.collateral(KEY, OTHER), "members/m/accounts/a/collateral", "ETH", Side.CREDIT, NEVER_OVERDRAWN),
    (chart.position(KEY, INSTRUMENT), "members/m/accounts/a/position", "BTC-PERP", Side.CREDIT, FREE),
    (chart.novation(INSTRUMENT), "novation", "BTC-PERP", Side.CREDIT, FREE),
    (chart.withdrawal("w1", OTHER), "withdrawals/w1", "ETH", Side.CREDIT, NEVER_OVERDRAWN),
    (chart.pool(MEMBER, SETTLEMENT), "members/m/pool", "USDC", Side.CREDIT, NEVER_OVERDRAWN),
    (chart.assessment(MEMBER, SETTLEMENT), "members/m/assessment", "USDC", Side.DEBIT, NEVER_BELOW_ZERO),
    (chart.house_capital(SETTLEMENT), "house/capital", "USDC", Side.CREDIT, FREE),
    (
        chart.skin_in_the_game(SETTLEMENT),
        "house/skin_in_the_game",
        "USDC",
        Side.CREDIT,
        NEVER_OVERDRAWN,
    ),
    (chart.second_tranche(SETTLEMENT), "house/second_tranche", "USDC", Side.CREDIT, NEVER_OVERDRAWN),
    (chart.insurance_fund(SETTLEMENT), "house/insurance_fund", "USDC", Side.CREDIT, NEVER_OVERDRAWN),
    (chart.fees(SETTLEMENT), "house/fees", "USDC", Side.CREDIT, NEVER_OVERDRAWN),
    (
        chart.loss(EVENT, MEMBER, SETTLEMENT),
        "defaults/d1/members/m/loss",
        "USDC",
        Side.DEBIT,
        NEVER_BELOW_ZERO,
    ),
    (chart.claims(EVENT, SETTLEMENT), "defaults/d1/claims", "USDC", Side.DEBIT, NEVER_BELOW_ZERO),
    (
        chart.account_claim(KEY, SETTLEMENT),
        "members/m/accounts/a/claim",
        "USDC",
        Side.CREDIT,
        NEVER_OVERDRAWN,
    ),
    (chart.member_claim(MEMBER, SETTLEMENT), "members/m/claim", "USDC", Side.CREDIT, NEVER_OVERDRAWN),
    (chart.house_claim(3, SETTLEMENT), "house/claims/3", "USDC", Side.CREDIT, NEVER_OVERDRAWN),
    (chart.recoveries(EVENT, SETTLEMENT), "defaults/d1/recoveries", "USDC", Side.CREDIT, NEVER_OVERDRAWN),
    (chart.uncovered(EVENT, SETTLEMENT), "defaults/d1/uncovered", "USDC", Side.DEBIT, NEVER_BELOW_ZERO),
    (
        chart.non_default_losses(OTHER),
        "house/non_default_losses",
        "ETH",
        Side.DEBIT,
        NEVER_BELOW_ZERO,
    ),
]


@pytest.mark.parametrize(
    ("account", "path", "unit", "side", "limit"), CHART, ids=[f"{row[1]} {row[2]}" for row in CHART]
)
def test_an_account_stands_where_the_rulebook_puts_it(
    account: Account, path: str, unit: str, side: Side, limit: Limit
) -> None:
    assert (account.path, account.unit, account.side, account.limit) == (path, unit, side, limit)


def test_every_account_of_the_chart_is_listed_here() -> None:
    module = ast.parse(Path(chart.__file__).read_text(encoding="utf-8"))
    makers = {
        node.name
        for node in module.body
        if isinstance(node, ast.FunctionDef) and ast.unparse(node.returns or ast.Constant("")) == "Account"
    }
    listed = {ast.unparse(call.func) for call in ast.walk(_this_file()) if isinstance(call, ast.Call)}
    assert {f"chart.{maker}" for maker in makers} <= listed


def _this_file() -> ast.Module:
    return ast.parse(Path(__file__).read_text(encoding="utf-8"))


def test_accounts_of_the_chart_are_different_accounts() -> None:
    assert len({account.id for account, *_ in CHART}) == len(CHART)


def test_only_clearing_accounts_have_a_holder() -> None:
    held = {account.path: chart.holder(account.path) for account, *_ in CHART}
    assert {path: owner for path, owner in held.items() if owner is not None} == {
        "members/m/accounts/a/cash": ("m/a", "cash"),
        "members/m/accounts/a/collateral": ("m/a", "collateral"),
        "members/m/accounts/a/position": ("m/a", "position"),
        "members/m/accounts/a/claim": ("m/a", "claim"),
    }


def test_every_line_of_the_chart_is_recognised() -> None:
    found = {account.path: chart.line_of(account.path) for account, *_ in CHART}
    assert {line for line, _ in found.values()} == set(chart.Line)
    assert {path: name for path, (_, name) in found.items() if name} == {
        "members/m/accounts/a/cash": "m/a",
        "members/m/accounts/a/collateral": "m/a",
        "members/m/accounts/a/position": "m/a",
        "members/m/accounts/a/claim": "m/a",
        "members/m/pool": "m",
        "members/m/assessment": "m",
        "members/m/claim": "m",
        "withdrawals/w1": "w1",
        "defaults/d1/members/m/loss": "d1",
        "defaults/d1/claims": "d1",
        "defaults/d1/recoveries": "d1",
        "defaults/d1/uncovered": "d1",
    }
    for path, (line, name) in found.items():
        shape = pattern(line.value.replace("{tier}", "[0-9]").replace("{", "(?P<").replace("}", ">[^/]+)"))
        assert shape.fullmatch(path), (path, name)


def test_the_name_of_a_withdrawal_may_have_its_account_in_front() -> None:
    assert chart.line_of("withdrawals/m/a/w1") == (chart.Line.WITHDRAWAL, "m/a/w1")


@pytest.mark.parametrize(
    "path", ["", "cash", "members/m", "members/m/lunch", "members/m/accounts/a/fees", "holds"]
)
def test_a_path_that_is_on_no_line_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="is not a valid Line"):
        chart.line_of(path)


def test_the_accounts_that_a_house_opens_are_those_of_the_chart() -> None:
    world: World = two_traders()
    fund(world, capital=1, skin_in_the_game=1, second_tranche=1, insurance_fund=1)
    contribute(world, dex=1)
    known = pattern(
        r"custody|novation|withdrawals/[^/]+|house/(capital|skin_in_the_game|second_tranche|insurance_fund|fees)"
        r"|members/[^/]+/(pool|accounts/[^/]+/(cash|collateral|position))"
    )
    paths = {account.path for account, _ in world.state.book.listed()}
    assert all(known.fullmatch(path) for path in paths), paths


# ------------------------------------------------------------------------------------------- the one place

SPELLED = pattern(
    r"members/\{|accounts/\{|defaults/\{|withdrawals/\{|house/claims"
    r"|/cash$|/collateral$|/position$|/pool$|/assessment$|/claim$|/claims$|/loss$|/recoveries$|/uncovered$"
    r"|^custody$|^novation$|^house/(capital|fees|non_default_losses)$"
)
"""The tranches are left out: the tiers name the house's tranches as payers by the paths of their accounts."""
RESOURCE_NAMES = "clearing/server/"
"""There ``members/{m}`` is a name of the interface, which has a chart of its own."""


def spellings(text: str) -> list[str]:
    """The string literals of a module, docstrings apart, that look like pieces of an account path."""
    tree = ast.parse(text)
    docstrings = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    found: list[str] = []
    inside_f_strings = {id(part) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for part in n.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            literal = ast.unparse(node)[2:-1]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            literal = "" if id(node) in docstrings | inside_f_strings else node.value
        else:
            continue
        if SPELLED.search(literal):
            found.append(literal)
    return found


def test_no_other_module_spells_an_account_path() -> None:
    found = {
        path.relative_to(ROOT).as_posix(): spelled
        for folder in ("ledger", "clearing")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if not path.relative_to(ROOT).as_posix().startswith(RESOURCE_NAMES)
        and (spelled := spellings(path.read_text(encoding="utf-8")))
    }
    assert set(found) == {"clearing/chart.py"}, found


@pytest.mark.parametrize(
    "code",
    [
        'f"members/{m}/pool"',
        'f"{key}/cash"',
        'x = "custody"',
        'f"defaults/{d}/claims"',
        'x = "house/capital"',
    ],
)
def test_the_search_finds_a_spelling(code: str) -> None:
    assert spellings(code)


@pytest.mark.parametrize(
    "code", ['"""Cash at members/{m}/cash."""', '"members"', '"the cash"', 'f"{member}/{a}"']
)
def test_the_search_leaves_other_text_alone(code: str) -> None:
    assert not spellings(code)
