"""The parts of ``clearing backtest`` that need more than daily closes: surfaces of volatility, trades of accounts.

What is missing in the folder is left out. Underlyings without a daily history are margined by proxy.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from clearing.margin.backtest.account_books import (
    LOTS_PER_COIN,
    MINOR_PER_UNIT,
    TICKS_PER_UNIT,
    Accounts,
    Payment,
    Trade,
)
from clearing.margin.backtest.basis_books import Basis
from clearing.margin.backtest.books import Family
from clearing.margin.backtest.bridged import long_history, positions, walk_bridged, with_ranges
from clearing.margin.backtest.liquidations import Liquidated, Standings, count
from clearing.margin.backtest.markets import (
    AccountFindings,
    BasisFindings,
    FloorFinding,
    Markets,
    OptionFindings,
    RuinFindings,
)
from clearing.margin.backtest.option_books import Options
from clearing.margin.backtest.pooled import Pooled, by_portfolio, by_size
from clearing.margin.backtest.reliability import Forecasts, forecasts, reliability, together
from clearing.margin.backtest.results import date_of
from clearing.margin.backtest.series import Series
from clearing.margin.backtest.surface import Quote, Snapshot, daily, snapshots
from clearing.margin.backtest.volatility_fit import by_halves, moves
from clearing.margin.backtest.walk import Past, Run
from clearing.margin.table import MODELS
from clearing.market_data import MarketData, read_table
from clearing.model.values import BP, DAY_MS, HOUR_MS, Parameters

EXPIRY_HOUR_MS = 8 * HOUR_MS
"""Expiries that are given as days end at 08:00 UTC."""
FLOORS_BP = (0, 10, 25, 50, 100)
SIZES = (0.0, 100.0, 1_000.0, 10_000.0, 1e12)
"""Gross notional of an account, in dollars."""
LOOKING = "expected_shortfall"
Stepped = Callable[[str, int, int], None]


def read_surface(folder: Path) -> dict[int, Snapshot]:
    """Snapshots by time; none without the file."""
    table = read_table(folder, "iv_surface_history")
    if table is None:
        return {}
    numbers = ("underlying_price", "index_price", "atm_iv", "iv_25d_put", "iv_25d_call")
    columns = zip(
        table.times_ms("ts_utc").tolist(),
        table.text("currency"),
        table.times_ms("expiry").tolist(),
        *(table.numbers(name).tolist() for name in numbers),
        strict=True,
    )
    return snapshots(
        Quote(
            at_ms=at_ms,
            currency=currency,
            expires_ms=expiry + EXPIRY_HOUR_MS,
            forward=forward,
            index=index,
            at_the_money=middle,
            put_25=put,
            call_25=call,
        )
        for at_ms, currency, expiry, forward, index, middle, put, call in columns
    )


def read_accounts(folder: Path, data: MarketData) -> Accounts | None:
    """The accounts with their payments; None without their trades."""
    table = read_table(folder, "hl_trades")
    if table is None:
        return None
    columns = zip(
        table.times_ms("ts_utc").tolist(),
        table.text("user"),
        table.text("coin"),
        table.text("side"),
        table.numbers("px").tolist(),
        table.numbers("sz").tolist(),
        strict=True,
    )
    trades = [
        Trade(
            at_ms=at_ms,
            user=user,
            coin=coin,
            ticks=round(price * TICKS_PER_UNIT),
            lots=round(size * LOTS_PER_COIN) * (1 if side == "Bid" else -1),
        )
        for at_ms, user, coin, side, price, size in columns
    ]
    known = [data.daily[coin] for coin in sorted({one.coin for one in trades} & data.daily.keys())]
    underlyings, earlier = long_history(known)
    return Accounts(trades, _payments(folder), underlyings=underlyings, earlier=earlier)


def _payments(folder: Path) -> list[Payment]:
    table = read_table(folder, "hl_ledger")
    if table is None:
        return []
    columns = zip(
        table.times_ms("ts_utc").tolist(),
        table.text("user"),
        table.numbers("delta_usd").tolist(),
        strict=True,
    )
    return [
        Payment(at_ms=at_ms, user=user, minor=round(dollars * MINOR_PER_UNIT))
        for at_ms, user, dollars in columns
    ]


def read_liquidations(folder: Path) -> list[Liquidated]:
    """None without the file."""
    table = read_table(folder, "hl_liquidations")
    if table is None:
        return []
    columns = zip(
        table.times_ms("ts_utc").tolist(),
        table.text("user"),
        table.numbers("liquidated_ntl_pos").tolist(),
        strict=True,
    )
    return [
        Liquidated(at_ms=at_ms, user=user, notional_minor=round(dollars * MINOR_PER_UNIT))
        for at_ms, user, dollars in columns
    ]


def options_and_basis(
    folder: Path, data: MarketData, stepped: Stepped
) -> tuple[OptionFindings | None, BasisFindings | None]:
    """Books on every currency that has surfaces and a daily history."""
    surfaces = read_surface(folder)
    steps = daily(list(surfaces))
    quoted = {currency for snapshot in surfaces.values() for currency in snapshot}
    known: list[Series] = [data.daily[currency] for currency in sorted(quoted & data.daily.keys())]
    if not steps or not known:
        return None, None
    underlyings, earlier = long_history(known)
    parameters = with_ranges(Parameters(), underlyings)
    family = Options(surfaces, steps, underlyings=underlyings, earlier=earlier)
    stepped("options", 0, 3)
    books = _by_models(family, parameters)
    stepped("options", 1, 3)
    flat = Options(surfaces, steps, underlyings=underlyings, earlier=earlier, flat=True)
    flat_books = _by_models(flat, parameters)
    stepped("options", 2, 3)
    options = OptionFindings(
        history_ends=date_of(max(int(one.days[-1]) for one in known) * DAY_MS),
        begins=date_of(steps[0][0]),
        steps=len(steps),
        currencies=tuple(str(one) for one in underlyings),
        books=tuple(books),
        flat=tuple(flat_books),
        fits=by_halves(moves(surfaces, steps)),
    )
    basis = Basis(surfaces, steps, path=family.path, earlier_days=len(earlier))
    findings = BasisFindings(
        books=tuple(_by_models(basis, parameters)), by_floor=tuple(_by_floor(basis, parameters))
    )
    stepped("options", 3, 3)
    return options, findings


def _by_models(family: Options | Basis, parameters: Parameters) -> list[Pooled]:
    models = [MODELS[name] for name in sorted(MODELS)]
    walked = walk_bridged(family, models, parameters)
    return [one for model in models for one in by_portfolio(walked, model.name)]


def _by_floor(family: Basis, parameters: Parameters) -> list[FloorFinding]:
    found = []
    for capped, cap_bp in ((True, parameters.offset_cap_bp), (False, BP)):
        for floor_bp in FLOORS_BP:
            asked = replace(parameters, basis_floor_bp=floor_bp, offset_cap_bp=cap_bp)
            walked = walk_bridged(family, [MODELS[LOOKING]], asked)
            found.append(
                FloorFinding(floor_bp=floor_bp, capped=capped, found=by_portfolio(walked, LOOKING)[-1])
            )
    return found


def accounts_found(folder: Path, data: MarketData, stepped: Stepped) -> AccountFindings | None:
    """Coverage of real accounts, and where those stood that were liquidated."""
    accounts = read_accounts(folder, data)
    if accounts is None:
        return None
    stepped("accounts", 0, 2)
    parameters = with_ranges(Parameters(), accounts.path.history.underlyings)
    models = [MODELS[name] for name in sorted(MODELS)]
    walked = walk_bridged(accounts, models, parameters)
    edges = [dollars * MINOR_PER_UNIT for dollars in SIZES]
    sizes = [
        replace(one, name=name)
        for model in models
        for one, name in zip(by_size(walked, model.name, edges), _size_names(), strict=False)
    ]
    stepped("accounts", 1, 2)
    standings = Standings(accounts, MODELS[LOOKING], parameters)
    at_midnights = standings.at_midnights()
    stepped("accounts", 2, 2)
    return AccountFindings(
        accounts=len(accounts.users),
        first_day=date_of(accounts.trades[0].at_ms),
        last_day=date_of(accounts.trades[-1].at_ms),
        coins=tuple(accounts.coins),
        by_proxy=tuple(coin for coin in accounts.coins if coin not in data.daily),
        sizes=(*sizes, *(one for model in models for one in by_portfolio(walked, model.name)[-1:])),
        left_out=accounts.left_out(),
        liquidations=tuple(standings.before(read_liquidations(folder))),
        standings=count(at_midnights),
        unknown=sum(1 for one in at_midnights if one.equity_minor < 0),
    )


def _size_names() -> Sequence[str]:
    return ("below $100", "$100 to $1,000", "$1,000 to $10,000", "above $10,000")


def ruin_forecasts(
    families: Sequence[Family],
    past: Past,
    run: Run,
    is_wanted: Callable[[int], bool],
    stepped: Stepped,
) -> Forecasts:
    """Of every book at every time that is wanted."""
    times = sorted({at_ms for family in families for at_ms in family.times if is_wanted(at_ms)})
    made = []
    for done, at_ms in enumerate(times, 1):
        for family in families:
            if at_ms in family.times:
                scene = family.scene(at_ms)
                market = past.market(run, scene.instruments, scene.prices, at_ms)
                array = run.model.risk_array(scene.instruments, market, run.parameters)
                amounts = run.model.amounts(positions(scene, array), array, run.parameters)
                made.append(forecasts(scene, array, amounts))
        stepped("probability of ruin", done, len(times))
    return together(made)


def ruin_found(made: Forecasts) -> tuple[RuinFindings, ...]:
    """The reliability of the forecasts of each year, and of all of them."""
    days = made.at_ms.astype("datetime64[ms]")
    years = days.astype("datetime64[Y]")
    periods = [(str(year), made.only(years == year)) for year in np.unique(years)]
    return tuple(
        RuinFindings(period=period, reliability=reliability(own))
        for period, own in [("all years", made), *periods]
    )


def markets(
    folder: Path,
    data: MarketData,
    made: Forecasts | None = None,
    stepped: Stepped = lambda _what, _done, _of: None,
) -> Markets:
    """Everything that the folder allows. ``made``: forecasts of ruin, which stand by their outcomes."""
    options, basis = options_and_basis(folder, data, stepped)
    return Markets(
        options=options,
        basis=basis,
        accounts=accounts_found(folder, data, stepped),
        ruin=() if made is None else ruin_found(made),
    )
