"""What there is: the house, assets, instruments, accounts, links, sources, providers."""

import re
from dataclasses import replace

from clearing.decide.calls import call_key
from clearing.decide.standing import ended_refusal, standing_refusal
from clearing.decide.terms import (
    asset_flaw,
    feeds_flaw,
    instrument_flaw,
    parameters_flaw,
    settlement_flaw,
    unscanned,
    volatility_feeds,
)
from clearing.decide.treasury import amount_refusal
from clearing.default.gate import loss_is_open
from clearing.model.commands import (
    FoundHouse,
    LinkAccounts,
    ListAsset,
    ListInstrument,
    OpenAccount,
    RegisterProvider,
    RegisterSource,
    RetireSource,
)
from clearing.model.draft import Draft
from clearing.model.house import Drop, House, Put, ordered, single
from clearing.model.ids import (
    CODE_PATTERN,
    HOUSE_ACCOUNT,
    NAME_PATTERN,
    AccountKey,
    ParticipantId,
    account_key,
    linked_set,
    member_of,
    single_set,
)
from clearing.model.kinds import Kind
from clearing.model.outcomes import Reason, Rejected
from clearing.model.values import (
    AccountKind,
    CallKind,
    Charter,
    ClearingAccount,
    Instrument,
    LinkProposal,
    NettingSet,
    Provider,
    Source,
)
from ledger.checkpoint import KeyRefused, require_sound_ed25519

LINK_MAX = 64
"""Accounts in one link."""


def found_house(draft: Draft, command: FoundHouse) -> Rejected | None:
    """Write the charter. Refused once there is one."""
    if draft.house.charter is not None:
        return Rejected(Reason.HOUSE_ALREADY_FOUNDED)
    if not (NAME_PATTERN.fullmatch(command.house) and CODE_PATTERN.fullmatch(command.settlement.id)):
        return Rejected(Reason.NAME_MALFORMED, f"{command.house} {command.settlement.id}")
    if flaw := settlement_flaw(command.settlement) or parameters_flaw(command.parameters):
        return Rejected(Reason.TERM_OUT_OF_RANGE, flaw)
    charter = Charter(
        house=command.house, settlement_asset=command.settlement.id, parameters=command.parameters
    )
    draft.record(
        Kind.HOUSE_FOUNDED,
        single("charter", charter),
        Put("assets", command.settlement.id, command.settlement),
    )
    return None


def list_asset(draft: Draft, command: ListAsset) -> Rejected | None:
    """Accept a collateral asset."""
    asset = command.asset
    if not (
        CODE_PATTERN.fullmatch(asset.id)
        and (asset.feed is None or CODE_PATTERN.fullmatch(asset.feed))
        and (asset.issuer is None or NAME_PATTERN.fullmatch(asset.issuer))
    ):
        return Rejected(Reason.NAME_MALFORMED, f"{asset.id} {asset.feed} {asset.issuer}")
    if _is_unit(draft.house, asset.id):
        return Rejected(Reason.ALREADY_EXISTS, asset.id)
    if flaw := asset_flaw(asset):
        return Rejected(Reason.TERM_OUT_OF_RANGE, flaw)
    if asset.feed in volatility_feeds(ordered(draft.house.instruments)):
        return Rejected(Reason.TERM_OUT_OF_RANGE, f"{asset.feed} publishes volatilities")
    draft.record(Kind.ASSET_LISTED, Put("assets", asset.id, asset))
    return None


def list_instrument(draft: Draft, command: ListInstrument) -> Rejected | None:
    """Clear an instrument; it trades from its first mark on."""
    instrument, house = command.instrument, draft.house
    if not all(CODE_PATTERN.fullmatch(code) for code in (instrument.id, *_feeds(instrument))):
        return Rejected(Reason.NAME_MALFORMED, " ".join((instrument.id, *_feeds(instrument))))
    if _is_unit(house, instrument.id):
        return Rejected(Reason.ALREADY_EXISTS, instrument.id)
    if flaw := unscanned(house.parameters, (instrument,)):
        return Rejected(Reason.FEED_UNKNOWN, flaw)
    asset_feeds = {asset.feed for asset in ordered(house.assets) if asset.feed is not None}
    if flaw := instrument_flaw(instrument, draft.now_ms) or feeds_flaw(
        instrument, ordered(house.instruments), asset_feeds
    ):
        return Rejected(Reason.TERM_OUT_OF_RANGE, flaw)
    draft.record(Kind.INSTRUMENT_LISTED, Put("instruments", instrument.id, instrument))
    return None


def _feeds(instrument: Instrument) -> tuple[str, ...]:
    option = instrument.option
    return (instrument.feed,) if option is None else (instrument.feed, option.volatility_feed)


def _is_unit(house: House, code: str) -> bool:
    """Whether accounts are kept in this unit already: assets and instruments share one name space (§3)."""
    return code in house.assets or code in house.instruments


def open_account(draft: Draft, command: OpenAccount) -> Rejected | None:
    """Open a client account."""
    key = account_key(command.member, command.account)
    if not (NAME_PATTERN.fullmatch(command.account) and NAME_PATTERN.fullmatch(command.participant)):
        return Rejected(Reason.NAME_MALFORMED, f"{command.account} {command.participant}")
    if command.member not in draft.house.members:
        return Rejected(Reason.MEMBER_UNKNOWN, command.member)
    if (rejected := standing_refusal(draft.house, command.member)) is not None:
        return rejected
    if command.account == HOUSE_ACCOUNT or key in draft.house.accounts:
        return Rejected(Reason.ALREADY_EXISTS, key)
    open_new(draft, key, AccountKind.CLIENT, command.participant)
    return None


def open_new(draft: Draft, key: AccountKey, kind: AccountKind, participant: ParticipantId) -> None:
    """Open an account, which is a netting set of its own."""
    account = ClearingAccount(
        key=key, member=member_of(key), kind=kind, participant=participant, netting_set=single_set(key)
    )
    alone = NettingSet(id=account.netting_set, participant=participant, accounts=(key,))
    draft.record(Kind.ACCOUNT_OPENED, Put("accounts", key, account), Put("netting_sets", alone.id, alone))


def link_accounts(draft: Draft, command: LinkAccounts) -> Rejected | None:
    """Propose a link, or accept it; it holds once every member concerned asked for the same (rulebook §2)."""
    house, set_id, wanted = draft.house, linked_set(command.participant), tuple(sorted(command.accounts))
    standing = house.proposals.get(set_id)
    before = standing.accepted_by if standing is not None and standing.accounts == wanted else ()
    accepted = tuple(sorted({*before, command.member}))
    is_agreed = {member_of(key) for key in wanted} == set(accepted)
    rejected = _link_refusal(house, command, is_agreed=is_agreed)
    if rejected is not None:
        return rejected
    proposal = LinkProposal(id=set_id, participant=command.participant, accounts=wanted, accepted_by=accepted)
    draft.record(Kind.LINK_PROPOSED, Put("proposals", set_id, proposal))
    if is_agreed:
        _link(draft, proposal)
    return None


def _link_refusal(house: House, command: LinkAccounts, *, is_agreed: bool) -> Rejected | None:
    """How accounts of others stand counts once all have agreed, and is their members' business: none is told why."""
    keys, participant = command.accounts, command.participant
    if not 2 <= len(set(keys)) == len(keys) <= LINK_MAX:
        return Rejected(Reason.LINK_TOO_SMALL, f"{len(keys)} accounts, {LINK_MAX} at most")
    own = [key for key in keys if member_of(key) == command.member]
    if not own:
        return Rejected(Reason.ACCOUNT_NOT_YOURS, command.member)
    for key in own:
        if (
            rejected := _not_of(house, key, participant) or _unlinkable(house, house.accounts[key])
        ) is not None:
            return rejected
    for key in keys:
        if _not_of(house, key, participant) is not None:
            return Rejected(Reason.OTHER_NOT_LINKABLE, key)
    if linked_set(participant) in house.netting_sets:
        return Rejected(Reason.ALREADY_EXISTS, linked_set(participant))
    if loss_is_open(house):
        return Rejected(Reason.DEFAULT_OPEN)
    bound = (key for key in keys if is_agreed and _unlinkable(house, house.accounts[key]) is not None)
    return next((Rejected(Reason.OTHER_NOT_LINKABLE, key) for key in bound), None)


def _not_of(house: House, key: AccountKey, participant: ParticipantId) -> Rejected | None:
    """Why an account is no client account of the participant."""
    account = house.accounts.get(key)
    if account is None:
        return Rejected(Reason.ACCOUNT_UNKNOWN, key)
    if account.participant != participant or account.kind is AccountKind.HOUSE:
        return Rejected(Reason.PARTICIPANT_DIFFERS, key)
    return None


def _unlinkable(house: House, account: ClearingAccount) -> Rejected | None:
    """Why an account cannot become part of a larger netting set now."""
    key = account.key
    if account.netting_set != single_set(key):
        return Rejected(Reason.ACCOUNT_LINKED, key)
    if (rejected := ended_refusal(account) or standing_refusal(house, account.member)) is not None:
        return rejected
    if account.netting_set in house.liquidations:
        return Rejected(Reason.REDUCE_ONLY, key)
    if any(call_key(kind, account.netting_set) in house.calls for kind in CallKind):
        return Rejected(Reason.CALL_OPEN, key)
    return None


def _link(draft: Draft, proposal: LinkProposal) -> None:
    house = draft.house
    linked = NettingSet(id=proposal.id, participant=proposal.participant, accounts=proposal.accounts)
    changes: list[Put | Drop] = [Put("netting_sets", linked.id, linked), Drop("proposals", proposal.id)]
    for key in proposal.accounts:
        account = house.accounts[key]
        changes.append(Put("accounts", key, replace(account, netting_set=linked.id)))
        changes.append(Drop("netting_sets", account.netting_set))
    draft.record(Kind.NETTING_SET_LINKED, *changes)
    draft.tell(Kind.NETTING_SET_LINKED, linked.id)


def register_source(draft: Draft, command: RegisterSource) -> Rejected | None:
    """Register a price source. A weak key is refused, for its signatures could be forged, and so is a known
    one: a quorum is of different sources (rulebook §6).
    """
    if not NAME_PATTERN.fullmatch(command.source):
        return Rejected(Reason.NAME_MALFORMED, command.source)
    if command.source in draft.house.sources:
        return Rejected(Reason.ALREADY_EXISTS, command.source)
    if not re.fullmatch("[0-9a-f]{64}", command.public_key):
        return Rejected(Reason.PUBLIC_KEY_UNSOUND, "64 lower-case hex digits are wanted")
    try:
        require_sound_ed25519(bytes.fromhex(command.public_key))
    except KeyRefused as error:
        return Rejected(Reason.PUBLIC_KEY_UNSOUND, str(error))
    if command.public_key in {source.public_key for source in ordered(draft.house.sources)}:
        return Rejected(Reason.ALREADY_EXISTS, "another source signs with this key")
    source = Source(id=command.source, public_key=command.public_key)
    draft.record(Kind.SOURCE_REGISTERED, Put("sources", source.id, source))
    return None


def retire_source(draft: Draft, command: RetireSource) -> Rejected | None:
    """Retire a price source: its key may be lost. Without a quorum of the others there are no more marks."""
    source = draft.house.sources.get(command.source)
    if source is None:
        return Rejected(Reason.SOURCE_UNKNOWN, command.source)
    if source.retired:
        return Rejected(Reason.SOURCE_RETIRED, command.source)
    published = [one for one in ordered(draft.house.observations) if one.source == source.id]
    draft.record(
        Kind.SOURCE_RETIRED,
        Put("sources", source.id, replace(source, retired=True)),
        *(Drop("observations", f"{one.feed}/{one.source}") for one in published),
    )
    draft.tell(Kind.SOURCE_RETIRED, source.id)
    return None


def register_provider(draft: Draft, command: RegisterProvider) -> Rejected | None:
    """Register a liquidity provider with the notional that it backs; said again, the capacity counts anew."""
    account = draft.house.accounts.get(command.account)
    if account is None:
        return Rejected(Reason.ACCOUNT_UNKNOWN, command.account)
    rejected = (
        ended_refusal(account)
        or standing_refusal(draft.house, account.member)
        or amount_refusal(command.capacity_minor)
    )
    if rejected is not None:
        return rejected
    provider = Provider(account=command.account, capacity_minor=command.capacity_minor)
    if draft.house.providers.get(command.account) == provider:
        return Rejected(Reason.PROVIDER_KNOWN, command.account)
    draft.record(Kind.PROVIDER_REGISTERED, Put("providers", provider.account, provider))
    return None
