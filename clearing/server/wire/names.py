"""Resource names and the ids behind them: ``members/alpha/accounts/house`` is the account ``alpha/house``.

A name that came in has been checked against its pattern (the rules in the proto) before it is taken apart
here. The ``~`` of a netting set stands where its id has a slash, because a name's part has none.
"""

from clearing.market.breakers import EVERYTHING as BREAKER_OF_EVERYTHING
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
    TradeKey,
)

ALL_MEMBERS = "members/-"
"""Stands for every member that the caller may see."""
EVERYTHING = "instruments/-"
"""Stands for all instruments where a breaker is named."""
LATEST_ATTESTATION = "attestations/latest"

_SET_PREFIX = "nettingSets/"


def member(name: MemberId) -> str:
    """Name of a member."""
    return f"members/{name}"


def account(key: AccountKey) -> str:
    """Name of an account."""
    owner, own = key.split("/", 1)
    return f"members/{owner}/accounts/{own}"


def trade(key: TradeKey) -> str:
    """Name of a trade."""
    owner, own = key.split("/", 1)
    return f"members/{owner}/trades/{own}"


def netting_set(set_id: SetId) -> str:
    """Name of a netting set."""
    return _SET_PREFIX + set_id.replace("/", "~")


def participant(name: ParticipantId) -> str:
    """Name of a participant."""
    return f"participants/{name}"


def instrument(name: InstrumentId) -> str:
    """Name of an instrument."""
    return f"instruments/{name}"


def asset(name: AssetId) -> str:
    """Name of an asset."""
    return f"assets/{name}"


def feed(name: FeedId) -> str:
    """Name of a feed."""
    return f"feeds/{name}"


def source(name: SourceId) -> str:
    """Name of a price source."""
    return f"sources/{name}"


def regulator(name: RegulatorId) -> str:
    """Name of a regulator."""
    return f"regulators/{name}"


def default(name: DefaultId) -> str:
    """Name of a default."""
    return f"defaults/{name}"


def auction(auction_id: str) -> str:
    """Name of an auction."""
    return f"auctions/{auction_id}"


def entry(sequence: int) -> str:
    """Name of an entry of the journal."""
    return f"entries/{sequence}"


def report(report_id: str) -> str:
    """Name of a report."""
    return f"reports/{report_id}"


def pull(report_id: str, request_id: str) -> str:
    """Name of a pull of a report: by the id of the request that asked for it."""
    return f"{report(report_id)}/pulls/{request_id}"


def of_pull(name: str) -> tuple[str, str]:
    """The ids of the report and of the request that the name of a pull spells."""
    _, report_id, _, request_id = name.split("/", 3)
    return report_id, request_id


def attestation(number: int) -> str:
    """Name of an attestation."""
    return f"attestations/{number}"


def administrator(actor: str) -> str:
    """Name of who the journal calls ``administrator/anna/…``; empty for nobody."""
    return f"administrators/{actor.split('/')[1]}" if actor else ""


def proposal(name: str) -> str:
    """Name of a proposal."""
    return f"proposals/{name}"


def breaker(scope: str) -> str:
    """Name of what a breaker restricts: an instrument, or ``instruments/-`` for everything."""
    return EVERYTHING if scope == BREAKER_OF_EVERYTHING else instrument(InstrumentId(scope))


def breaker_scope(name: str) -> str:
    """The scope of the breaker of ``instruments/{i}`` or ``instruments/-``."""
    return BREAKER_OF_EVERYTHING if name == EVERYTHING else own_id(name)


def withdrawal(key: AccountKey, withdrawal_id: str) -> str:
    """Name of a withdrawal from the account ``key``, in whose name the house may know it already."""
    return f"{account(key)}/withdrawals/{own_id(withdrawal_id)}"


def fund(name: str) -> str:
    """Name of a fund of the house."""
    return f"house/{name}"


def own_id(name: str) -> str:
    """The last part of a name: the id within its collection."""
    return name.rpartition("/")[2]


def member_id(name: str) -> MemberId:
    """The member that ``members/{m}`` and everything under it names."""
    return MemberId(name.split("/")[1])


def account_key(name: str) -> AccountKey:
    """The account that ``members/{m}/accounts/{a}`` and everything under it names."""
    _, owner, _, own = name.split("/")[:4]
    return AccountKey(f"{owner}/{own}")


def trade_key(name: str) -> TradeKey:
    """The trade that ``members/{m}/trades/{t}`` names."""
    _, owner, _, own = name.split("/")
    return TradeKey(f"{owner}/{own}")


def set_id(name: str) -> SetId:
    """The netting set that ``nettingSets/{m}~{a}`` or ``nettingSets/link~{p}`` names."""
    return SetId(name.removeprefix(_SET_PREFIX).replace("~", "/", 1))


def is_netting_set(name: str) -> bool:
    """Whether ``name`` is in the collection of netting sets."""
    return name.startswith(_SET_PREFIX)
