"""Houses whose attestation is measured: clients with 12 positions each, a fifth of them linked in pairs across two
members, every other one with collateral in two assets, and so little cash that stress strikes some.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from random import Random

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.core_house import FEEDS, MEMBERS, NAME, BenchHouse, bench_house, books, clients
from bench.rows import seconds
from bench.stores import Store
from clearing import chart
from clearing.attest.envelope import RoleKey, TrustSet, ed25519_signer, p256_signer
from clearing.attest.policy import Policy
from clearing.attest.signer import SigningKeys
from clearing.model.commands import ContributeToPool, FundHouse, HouseMoney, ListAsset, SizePool
from clearing.model.draft import Line
from clearing.model.house import Drop, House, Put
from clearing.model.ids import AccountKey, AssetId, linked_set, single_set
from clearing.model.kinds import Kind
from clearing.model.values import Asset, NettingSet
from ledger.checkpoint import verifier_key
from ledger.entry import transfer

HELD = 12
CASH_MINOR = 4 * 10**9
"""Some 4,000 of the settlement asset, beside positions worth some 10,000."""
TOKENS = (AssetId("TOKA"), AssetId("TOKB"))
POSTED_MINOR = 10**6
LINKED = 10
"""Of so many accounts the first two are linked."""
CYCLES = 3

ORIGIN = f"{NAME}/journal"
LOG_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OFFICERS = (
    ed25519_signer(Ed25519PrivateKey.from_private_bytes(b"risk".ljust(32, b"."))),
    p256_signer(ec.derive_private_key(7, ec.SECP256R1())),
    ed25519_signer(Ed25519PrivateKey.from_private_bytes(b"compliance".ljust(32, b"."))),
)
KEYS = SigningKeys(origin=ORIGIN, log_key=LOG_KEY, officers=OFFICERS, blinding=bytes(range(32)))
ROLES = ("risk", "operations", "compliance")
TRUST = TrustSet(
    keys=tuple(RoleKey(role=r, key=one.public_key) for r, one in zip(ROLES, OFFICERS, strict=True)),
    threshold=2,
)
POLICY = Policy(origin=ORIGIN, log_keys=(verifier_key(ORIGIN, LOG_KEY),), trust=TRUST)


@contextmanager
def attested_house(store: Store, accounts: int) -> Iterator[BenchHouse]:
    """A house with so many clients, and a closed cycle that measured them all."""
    with bench_house(store) as house:
        for asset, feed in zip(TOKENS, FEEDS, strict=False):
            token = Asset(id=asset, decimals=6, feed=feed, tick_value_minor=100, haircut_bp=1_000)
            house.do(ListAsset(asset=token))
        for money in HouseMoney:
            house.do(FundHouse(into=money, amount_minor=CASH_MINOR))
        for member in MEMBERS:
            house.do(ContributeToPool(member=member, amount_minor=CASH_MINOR))
        keys, lines = clients(accounts, CASH_MINOR)
        house.build(lines)
        house.build([*_linked(house.state, keys), *_posted(keys)])
        house.do(house.publish(10_000))
        house.build(books(keys, HELD, Random(7)))
        house.built()
        house.do(house.publish(10_010))
        house.do(SizePool())
        yield house


def cycles(house: BenchHouse) -> list[float]:
    """How long full cycles of the house take: what its attestation is held against."""
    lasts = (house.publish(10_000 + 10 * (turn % 2)) for turn in range(CYCLES))
    return [seconds(lambda last=last: house.do(last)) for last in lasts]  # type: ignore[misc]  # bound at once


def _linked(house: House, keys: Sequence[AccountKey]) -> Iterator[Line]:
    """Accounts at two members become one participant's, and one netting set."""
    for one, other in zip(keys[::LINKED], keys[1::LINKED], strict=True):
        participant = house.accounts[one].participant
        both = NettingSet(id=linked_set(participant), participant=participant, accounts=(one, other))
        accounts = (replace(house.accounts[key], participant=participant) for key in both.accounts)
        rows = (Put("accounts", row.key, replace(row, netting_set=both.id)) for row in accounts)
        alone = (Drop("netting_sets", single_set(key)) for key in both.accounts)
        yield Line(Kind.NETTING_SET_LINKED, (*rows, *alone, Put("netting_sets", both.id, both)), (), ())


def _posted(keys: Sequence[AccountKey]) -> Iterator[Line]:
    for key in keys[::2]:
        for asset in TOKENS:
            posted = transfer(chart.custody(asset), chart.collateral(key, asset), POSTED_MINOR)
            yield Line(Kind.DEPOSITED, (), posted, ())
