"""Losses that are no default: theft from custody, a failed investment (rulebook §3).

The house bears them, from ``house/capital`` as far as that goes; never a tier of the waterfall, never a client.
Capital is in the settlement asset: it pays that asset's losses at once, and later ones as it is funded. What is
missing of another asset is bought and brought back. What is missing stands on ``house/non_default_losses`` of its
unit, and until it is made good the outflow gate is shut: who withdraws first would be paid with the others' money.
"""

from clearing import chart
from clearing.decide.administrators import reason_refusal
from clearing.decide.treasury import amount_refusal
from clearing.model.commands import RecordNonDefaultLoss, ReplaceLostAsset
from clearing.model.draft import Draft
from clearing.model.house import Drop, House, Put
from clearing.model.ids import AssetId
from clearing.model.kinds import Kind
from clearing.model.outcomes import Reason, Rejected
from clearing.model.values import NonDefaultLoss
from ledger.account import Account
from ledger.entry import transfer


def record_non_default_loss(draft: Draft, command: RecordNonDefaultLoss) -> Rejected | None:
    """Custody holds less than it did; the house owes what is missing."""
    house, asset = draft.house, command.asset
    if asset not in house.assets:
        return Rejected(Reason.ASSET_UNKNOWN, asset)
    rejected = amount_refusal(command.amount_minor) or reason_refusal(command.reason)
    if rejected is not None:
        return rejected
    held = house.balance(chart.custody(asset))
    if held < command.amount_minor:
        return Rejected(Reason.CUSTODY_INSUFFICIENT, f"it holds {held} {asset}")
    standing = house.non_default_losses.get(asset)
    loss = NonDefaultLoss(
        asset=asset,
        since_ms=draft.now_ms if standing is None else standing.since_ms,
        reason=command.reason,
    )
    draft.record(
        Kind.LOSS_WITHOUT_DEFAULT,
        Put("non_default_losses", asset, loss),
        legs=transfer(chart.non_default_losses(asset), chart.custody(asset), command.amount_minor),
    )
    draft.tell(Kind.LOSS_WITHOUT_DEFAULT, asset, command.amount_minor)
    return None


def replace_lost_asset(draft: Draft, command: ReplaceLostAsset) -> Rejected | None:
    """Take back into custody what was missing, at most as much as still is."""
    if command.asset not in draft.house.assets:
        return Rejected(Reason.ASSET_UNKNOWN, command.asset)
    if (rejected := amount_refusal(command.amount_minor)) is not None:
        return rejected
    missing = draft.house.balance(chart.non_default_losses(command.asset))
    if missing < command.amount_minor:
        return Rejected(Reason.LOSS_SMALLER, f"{missing} {command.asset}")
    custody = chart.custody(command.asset)
    _make_good(draft, Kind.LOST_ASSET_REPLACED, command.asset, custody, command.amount_minor)
    return None


def bearable_minor(house: House) -> int:
    """What capital can pay now of the settlement asset's losses."""
    missing = house.balance(chart.non_default_losses(house.settlement))
    return max(0, min(missing, house.balance(chart.house_capital(house.settlement))))


def bear_loss(draft: Draft) -> None:
    """Let capital pay what it can."""
    asset = draft.house.settlement
    capital = chart.house_capital(asset)
    _make_good(draft, Kind.LOSS_BORNE_BY_CAPITAL, asset, capital, bearable_minor(draft.house))


def _make_good(draft: Draft, kind: Kind, asset: AssetId, debited: Account, amount_minor: int) -> None:
    """Lower what is missing; the row goes with the last of it."""
    losses = chart.non_default_losses(asset)
    is_whole = draft.house.balance(losses) == amount_minor
    changes = (Drop("non_default_losses", asset),) if is_whole else ()
    draft.record(kind, *changes, legs=transfer(debited, losses, amount_minor))
    draft.tell(kind, asset, amount_minor)
