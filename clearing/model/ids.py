"""Names of things: ASCII, so that they can stand in account paths and in resource names."""

import re
from typing import NewType

MemberId = NewType("MemberId", str)
AccountKey = NewType("AccountKey", str)
"""``member/account``: the account ``account`` of ``member``."""
ParticipantId = NewType("ParticipantId", str)
SetId = NewType("SetId", str)
"""A netting set: the account key of a single account, or ``link/<participant>`` for linked accounts."""
InstrumentId = NewType("InstrumentId", str)
AssetId = NewType("AssetId", str)
FeedId = NewType("FeedId", str)
"""What a price source publishes a price of: an underlying or an instrument."""
SourceId = NewType("SourceId", str)
DefaultId = NewType("DefaultId", str)
TradeKey = NewType("TradeKey", str)
"""``member/trade id``."""
RegulatorId = NewType("RegulatorId", str)

NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9-]{0,31}", re.ASCII)
TRADE_ID_PATTERN = re.compile(r"[a-z0-9][a-z0-9-]{0,63}", re.ASCII)
"""Room for a UUID with its dashes, and for most protocols' own ids."""
CODE_PATTERN = re.compile(r"[A-Z0-9][A-Z0-9.-]{0,31}", re.ASCII)
SERIAL_PATTERN = re.compile(r"[1-9a-f][0-9a-f]{0,39}", re.ASCII)
"""The serial number of a certificate: at most 20 bytes (RFC 5280 §4.1.2.2), in the one spelling."""
JURISDICTION_PATTERN = re.compile(r"[A-Z]{2}", re.ASCII)
"""A country by its code of two letters (ISO 3166-1 alpha-2); which are assigned is that list's business."""
REQUEST_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}", re.ASCII)

HOUSE_ACCOUNT = "house"
"""The name of the account that holds a member's own positions."""
ADMINISTRATOR = "administrator/"
"""How the journal's name of whoever runs the house begins (rulebook §13)."""
IMAGINED = "_"
"""Stands where a name would in what is only imagined: no name has an underscore."""
LINK = "link"
"""Stands where a single account's netting set has its member, so no member is called so."""


def account_key(member: MemberId, account: str) -> AccountKey:
    """The key of ``account`` at ``member``."""
    return AccountKey(f"{member}/{account}")


def house_account(member: MemberId) -> AccountKey:
    """The key of the member's own account."""
    return account_key(member, HOUSE_ACCOUNT)


def member_of(key: AccountKey) -> MemberId:
    """The member at which an account stands."""
    return MemberId(key.split("/", 1)[0])


def single_set(key: AccountKey) -> SetId:
    """The netting set of an account that is linked with no other."""
    return SetId(key)


def linked_set(participant: ParticipantId) -> SetId:
    """The netting set of a participant's linked accounts."""
    return SetId(f"{LINK}/{participant}")
