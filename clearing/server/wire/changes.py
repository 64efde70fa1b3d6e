"""Changes of the house on the wire: the commands that take two administrators, each as a message of its own.

A change and the reason for it are apart: a command that has a reason of its own takes the one of the request.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from clearing.model import units
from clearing.model.commands import (
    AdmitMember,
    Command,
    DeclareDefault,
    GrantRegulator,
    GroupMember,
    ImportHistory,
    ListAsset,
    ListInstrument,
    RecordNonDefaultLoss,
    RegisterSource,
    ReinstateMember,
    RetireSource,
    SetJurisdiction,
    WindDown,
)
from clearing.model.house import House
from clearing.model.ids import AssetId, FeedId, InstrumentId, RegulatorId, SourceId
from clearing.model.units import Unit
from clearing.model.values import Asset, Instrument, OptionTerms
from clearing.server.wire import names, terms, times
from clearing.server.wire.house import INSTRUMENT_KINDS, RIGHTS
from clearing.server.wire.violations import Violations
from clearinghouse.v1 import admin_service_pb2 as pb

_KIND_OF: Final = {on_wire: kind for kind, on_wire in INSTRUMENT_KINDS.items()}
_RIGHT_OF: Final = {on_wire: right for right, on_wire in RIGHTS.items()}


def parse(change: pb.Change, reason: str, house: House, violations: Violations) -> Command:
    """The command that ``change`` asks for. Raises ``RequestInvalid`` with every field that is wrong."""
    which = change.WhichOneof("change")
    money = units.of_settlement(house)
    field = f"change.{which}"
    if which == "list_asset":
        asset = asset_terms(change.list_asset.asset, money, f"{field}.asset", violations)
        violations.require_none()
        return ListAsset(asset=asset)
    if which == "list_instrument":
        instrument = _instrument(change.list_instrument.instrument, money, f"{field}.instrument", violations)
        violations.require_none()
        return ListInstrument(instrument=instrument)
    if which == "record_non_default_loss":
        loss = _loss(change.record_non_default_loss, reason, house, field, violations)
        violations.require_none()
        return loss
    if which == "grant_regulator" and change.grant_regulator.all is bool(
        change.grant_regulator.jurisdictions
    ):
        violations.add(f"{field}.jurisdictions", "give some, or say all: one of the two")
    violations.require_none()
    return _PLAIN[str(which)](change, reason)


_PLAIN: Final[Mapping[str, Callable[[pb.Change, str], Command]]] = {
    "admit_member": lambda change, _: AdmitMember(
        member=names.member_id(change.admit_member.member), name=change.admit_member.display_name
    ),
    "reinstate_member": lambda change, reason: ReinstateMember(
        member=names.member_id(change.reinstate_member.member), reason=reason
    ),
    "register_source": lambda change, _: RegisterSource(
        source=SourceId(names.own_id(change.register_source.source)),
        public_key=change.register_source.public_key.hex(),
    ),
    "retire_source": lambda change, _: RetireSource(
        source=SourceId(names.own_id(change.retire_source.source))
    ),
    "wind_down": lambda _, reason: WindDown(reason=reason),
    "declare_default": lambda change, reason: DeclareDefault(
        member=names.member_id(change.declare_default.member), reason=reason
    ),
    "import_history": lambda change, _: ImportHistory(
        underlying=FeedId(names.own_id(change.import_history.underlying)),
        first_day=change.import_history.first_day,
        moves_ppm=tuple(change.import_history.moves_ppm),
    ),
    "group_member": lambda change, _: GroupMember(
        member=names.member_id(change.group_member.member), group=change.group_member.group
    ),
    "set_jurisdiction": lambda change, _: SetJurisdiction(
        member=names.member_id(change.set_jurisdiction.member),
        jurisdiction=change.set_jurisdiction.jurisdiction,
    ),
    "grant_regulator": lambda change, _: GrantRegulator(
        regulator=RegulatorId(names.own_id(change.grant_regulator.regulator)),
        jurisdictions=tuple(change.grant_regulator.jurisdictions),
    ),
}
"""The changes that have no amounts."""


def asset_terms(asset: pb.AssetTerms, money: Unit, field: str, violations: Violations) -> Asset:
    """The terms of an asset; ``money`` is the unit of the settlement asset."""
    whole = terms.unit_of(asset.decimals)
    return Asset(
        id=AssetId(names.own_id(asset.name)),
        decimals=asset.decimals,
        feed=FeedId(names.own_id(asset.feed)) if asset.feed else None,
        tick_value_minor=terms.steps(money, asset.tick_value, f"{field}.tick_value", violations),
        haircut_bp=asset.haircut_bp,
        issuer=names.member_id(asset.issuer) if asset.issuer.startswith("members/") else None,
        concentration_minor=terms.steps(
            whole, asset.concentration_limit, f"{field}.concentration_limit", violations
        ),
        concentration_haircut_bp=asset.concentration_haircut_bp,
    )


def _instrument(row: pb.InstrumentTerms, money: Unit, field: str, violations: Violations) -> Instrument:
    option = None
    if row.HasField("option"):
        strike = f"{field}.option.strike_price"
        option = OptionTerms(
            right=_RIGHT_OF.get(row.option.right, next(iter(RIGHTS))),
            strike_ticks=terms.steps(
                terms.unit_of(row.price_decimals), row.option.strike_price, strike, violations
            ),
            volatility_feed=FeedId(names.own_id(row.option.volatility_feed)),
        )
    expires = row.HasField("expire_time")
    return Instrument(
        id=InstrumentId(names.own_id(row.name)),
        kind=_KIND_OF.get(row.kind, next(iter(INSTRUMENT_KINDS))),
        underlying=FeedId(names.own_id(row.underlying)),
        feed=FeedId(names.own_id(row.feed)),
        tick_value_minor=terms.steps(money, row.tick_value, f"{field}.tick_value", violations),
        price_decimals=row.price_decimals,
        lot_decimals=row.lot_decimals,
        expires_ms=times.to_exact_ms(row.expire_time, f"{field}.expire_time", violations)
        if expires
        else None,
        option=option,
    )


def _loss(
    loss: pb.RecordNonDefaultLossChange, reason: str, house: House, field: str, violations: Violations
) -> RecordNonDefaultLoss:
    """Of an unknown asset nothing can be counted: the decider refuses it before it looks."""
    asset = house.assets.get(AssetId(names.own_id(loss.asset)))
    amount = 0
    if asset is not None:
        amount = terms.steps(units.of_asset(asset), loss.amount, f"{field}.amount", violations)
    return RecordNonDefaultLoss(asset=AssetId(names.own_id(loss.asset)), amount_minor=amount, reason=reason)


def message(command: object, house: House) -> pb.Change:
    """The change that ``command`` is."""
    return _MESSAGES[type(command)](command, house)


def asset_message(asset: Asset, house: House) -> pb.AssetTerms:
    """The terms of an asset."""
    money, whole = units.of_settlement(house), units.of_asset(asset)
    return pb.AssetTerms(
        name=names.asset(asset.id),
        decimals=asset.decimals,
        feed="" if asset.feed is None else names.feed(asset.feed),
        tick_value=money.render(asset.tick_value_minor) if asset.tick_value_minor else "",
        haircut_bp=asset.haircut_bp,
        issuer="" if asset.issuer is None else names.member(asset.issuer),
        concentration_limit=whole.render(asset.concentration_minor) if asset.concentration_minor else "",
        concentration_haircut_bp=asset.concentration_haircut_bp,
    )


def _instrument_message(row: Instrument, house: House) -> pb.InstrumentTerms:
    found = pb.InstrumentTerms(
        name=names.instrument(row.id),
        kind=INSTRUMENT_KINDS[row.kind],
        underlying=names.feed(row.underlying),
        feed=names.feed(row.feed),
        tick_value=units.of_settlement(house).render(row.tick_value_minor),
        price_decimals=row.price_decimals,
        lot_decimals=row.lot_decimals,
        expire_time=terms.time(row.expires_ms or 0),
    )
    if row.option is not None:
        found.option.right = RIGHTS[row.option.right]
        found.option.strike_price = units.of_price(row).render(row.option.strike_ticks)
        found.option.volatility_feed = names.feed(row.option.volatility_feed)
    return found


def _loss_message(command: RecordNonDefaultLoss, house: House) -> pb.RecordNonDefaultLossChange:
    amount = units.of_asset(house.assets[command.asset]).render(command.amount_minor)
    return pb.RecordNonDefaultLossChange(asset=names.asset(command.asset), amount=amount)


_MESSAGES: Final[Mapping[type, Callable[[Any, House], pb.Change]]] = {
    ListAsset: lambda command, house: pb.Change(
        list_asset=pb.ListAssetChange(asset=asset_message(command.asset, house))
    ),
    ListInstrument: lambda command, house: pb.Change(
        list_instrument=pb.ListInstrumentChange(instrument=_instrument_message(command.instrument, house))
    ),
    AdmitMember: lambda command, _: pb.Change(
        admit_member=pb.AdmitMemberChange(member=names.member(command.member), display_name=command.name)
    ),
    ReinstateMember: lambda command, _: pb.Change(
        reinstate_member=pb.ReinstateMemberChange(member=names.member(command.member))
    ),
    RegisterSource: lambda command, _: pb.Change(
        register_source=pb.RegisterSourceChange(
            source=names.source(command.source), public_key=bytes.fromhex(command.public_key)
        )
    ),
    RetireSource: lambda command, _: pb.Change(
        retire_source=pb.RetireSourceChange(source=names.source(command.source))
    ),
    RecordNonDefaultLoss: lambda command, house: pb.Change(
        record_non_default_loss=_loss_message(command, house)
    ),
    WindDown: lambda _command, _house: pb.Change(wind_down=pb.WindDownChange()),
    DeclareDefault: lambda command, _: pb.Change(
        declare_default=pb.DeclareDefaultChange(member=names.member(command.member))
    ),
    ImportHistory: lambda command, _: pb.Change(
        import_history=pb.ImportHistoryChange(
            underlying=names.feed(command.underlying),
            first_day=command.first_day,
            moves_ppm=command.moves_ppm,
        )
    ),
    GroupMember: lambda command, _: pb.Change(
        group_member=pb.GroupMemberChange(member=names.member(command.member), group=command.group)
    ),
    SetJurisdiction: lambda command, _: pb.Change(
        set_jurisdiction=pb.SetJurisdictionChange(
            member=names.member(command.member), jurisdiction=command.jurisdiction
        )
    ),
    GrantRegulator: lambda command, _: pb.Change(
        grant_regulator=pb.GrantRegulatorChange(
            regulator=names.regulator(command.regulator),
            jurisdictions=command.jurisdictions,
            all=not command.jurisdictions,
        )
    ),
}
"""Each command that takes two administrators as a message."""
