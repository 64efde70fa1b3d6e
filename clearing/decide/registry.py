"""Who and what there is: the house, assets, instruments, members, accounts, links, sources, providers."""

import re
from dataclasses import replace

from clearing.model.commands import (
    AdmitMember,
    FoundHouse,
    LinkAccounts,
    ListAsset,
    ListInstrument,
    OpenAccount,
    RegisterProvider,
    RegisterSource,
)
from clearing.model.draft import Draft
from clearing.model.house import Drop, Put, single
from clearing.model.ids import (
    CODE_PATTERN,
    HOUSE_ACCOUNT,
    NAME_PATTERN,
    AccountKey,
    ParticipantId,
    account_key,
    house_account,
    linked_set,
    member_of,
    single_set,
)
from clearing.model.kinds import Kind
from clearing.model.outcomes import Reason, Rejected
from clearing.model.values import (
    AccountKind,
    Charter,
    ClearingAccount,
    LinkProposal,
    Member,
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
    if not CODE_PATTERN.fullmatch(command.asset.id):
        return Rejected(Reason.NAME_MALFORMED, command.asset.id)
    if command.asset.id in draft.house.assets:
        return Rejected(Reason.ALREADY_EXISTS, command.asset.id)
    draft.record(Kind.ASSET_LISTED, Put("assets", command.asset.id, command.asset))
    return None


def list_instrument(draft: Draft, command: ListInstrument) -> Rejected | None:
    """Clear an instrument; it trades from its first mark on."""
    instrument = command.instrument
    if not CODE_PATTERN.fullmatch(instrument.id):
        return Rejected(Reason.NAME_MALFORMED, instrument.id)
    if instrument.id in draft.house.instruments:
        return Rejected(Reason.ALREADY_EXISTS, instrument.id)
    if instrument.underlying not in {r.underlying for r in draft.house.parameters.scan_ranges}:
        return Rejected(Reason.FEED_UNKNOWN, f"no scan range for {instrument.underlying}")
    draft.record(Kind.INSTRUMENT_LISTED, Put("instruments", instrument.id, instrument))
    return None


def admit_member(draft: Draft, command: AdmitMember) -> Rejected | None:
    """Admit a member and open its house account."""
    if not NAME_PATTERN.fullmatch(command.member):
        return Rejected(Reason.NAME_MALFORMED, command.member)
    if command.member in draft.house.members:
        return Rejected(Reason.ALREADY_EXISTS, command.member)
    member = Member(id=command.member, name=command.name)
    draft.record(Kind.MEMBER_ADMITTED, Put("members", member.id, member))
    _open(draft, house_account(member.id), AccountKind.HOUSE, ParticipantId(member.id))
    return None


def open_account(draft: Draft, command: OpenAccount) -> Rejected | None:
    """Open a client account."""
    key = account_key(command.member, command.account)
    if not (NAME_PATTERN.fullmatch(command.account) and NAME_PATTERN.fullmatch(command.participant)):
        return Rejected(Reason.NAME_MALFORMED, f"{command.account} {command.participant}")
    if command.member not in draft.house.members:
        return Rejected(Reason.MEMBER_UNKNOWN, command.member)
    if command.account == HOUSE_ACCOUNT or key in draft.house.accounts:
        return Rejected(Reason.ALREADY_EXISTS, key)
    _open(draft, key, AccountKind.CLIENT, command.participant)
    return None


def _open(draft: Draft, key: AccountKey, kind: AccountKind, participant: ParticipantId) -> None:
    account = ClearingAccount(
        key=key, member=member_of(key), kind=kind, participant=participant, netting_set=single_set(key)
    )
    alone = NettingSet(id=account.netting_set, participant=participant, accounts=(key,))
    draft.record(Kind.ACCOUNT_OPENED, Put("accounts", key, account), Put("netting_sets", alone.id, alone))


def link_accounts(draft: Draft, command: LinkAccounts) -> Rejected | None:
    """Propose a link, or accept it; it holds once every member concerned asked for the same (rulebook §2)."""
    rejected = _link_refusal(draft, command)
    if rejected is not None:
        return rejected
    set_id = linked_set(command.participant)
    wanted = tuple(sorted(command.accounts))
    standing = draft.house.proposals.get(set_id)
    before = standing.accepted_by if standing is not None and standing.accounts == wanted else ()
    accepted = tuple(sorted({*before, command.member}))
    proposal = LinkProposal(id=set_id, participant=command.participant, accounts=wanted, accepted_by=accepted)
    draft.record(Kind.LINK_PROPOSED, Put("proposals", set_id, proposal))
    if {member_of(key) for key in wanted} == set(accepted):
        _link(draft, proposal)
    return None


def _link_refusal(draft: Draft, command: LinkAccounts) -> Rejected | None:
    keys = command.accounts
    if not 2 <= len(set(keys)) == len(keys) <= LINK_MAX:
        return Rejected(Reason.LINK_TOO_SMALL, f"{len(keys)} accounts")
    for key in keys:
        account = draft.house.accounts.get(key)
        if account is None:
            return Rejected(Reason.ACCOUNT_UNKNOWN, key)
        if account.participant != command.participant or account.kind is AccountKind.HOUSE:
            return Rejected(Reason.PARTICIPANT_DIFFERS, key)
        if account.netting_set != single_set(key):
            return Rejected(Reason.ACCOUNT_LINKED, key)
        if single_set(key) in draft.house.liquidations:
            return Rejected(Reason.REDUCE_ONLY, key)
    if command.member not in {member_of(key) for key in keys}:
        return Rejected(Reason.ACCOUNT_NOT_YOURS, command.member)
    return None


def _link(draft: Draft, proposal: LinkProposal) -> None:
    house = draft.house
    linked = NettingSet(id=proposal.id, participant=proposal.participant, accounts=proposal.accounts)
    changes: list[Put | Drop] = [Put("netting_sets", linked.id, linked), Drop("proposals", proposal.id)]
    for key in proposal.accounts:
        account = house.accounts[key]
        changes.append(Put("accounts", key, replace(account, netting_set=linked.id)))
        changes.append(Drop("netting_sets", account.netting_set))
        changes += [
            Drop("calls", call)
            for call in sorted(house.calls)
            if house.calls[call].netting_set == single_set(key)
        ]
    draft.record(Kind.NETTING_SET_LINKED, *changes)


def register_source(draft: Draft, command: RegisterSource) -> Rejected | None:
    """Register a price source. A weak key is refused: its signatures could be forged."""
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
    source = Source(id=command.source, public_key=command.public_key)
    draft.record(Kind.SOURCE_REGISTERED, Put("sources", source.id, source))
    return None


def register_provider(draft: Draft, command: RegisterProvider) -> Rejected | None:
    """Register a backstop provider with the notional that it is ready to take."""
    if command.account not in draft.house.accounts:
        return Rejected(Reason.ACCOUNT_UNKNOWN, command.account)
    if command.account in draft.house.providers:
        return Rejected(Reason.PROVIDER_KNOWN, command.account)
    if command.capacity_minor <= 0:
        return Rejected(Reason.AMOUNT_NOT_POSITIVE)
    provider = Provider(account=command.account, capacity_minor=command.capacity_minor)
    draft.record(Kind.PROVIDER_REGISTERED, Put("providers", provider.account, provider))
    return None
