"""The demonstration's keys: anyone can make them again from its seed, so they are fit for it and for nothing else."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from clearing import keys
from clearing.attest.envelope import RoleKey, TrustSet, ed25519_signer
from clearing.attest.statement import parse_time
from clearing.attest.trust import Version, add_signature, write
from clearing.demo.door import ADMINISTRATOR, CUSTODIAN
from clearing.server.identity import identity_of, parse_spiffe

TRUSTEES = ("anna", "bert", "carla")
TRUST_EXPIRES_MS = parse_time("2099-12-31T23:59:59.000Z")


def make(folder: Path, seed: int, house: str, callers: Iterable[str]) -> None:
    """A key directory for ``house``, its administrator, its custodian and ``callers`` (``role/id``)."""

    def secret(purpose: str) -> bytes:
        return hashlib.sha512(f"demo {seed} {purpose}".encode()).digest()[: keys.SECRET_BYTES]

    clients = [parse_spiffe(f"spiffe://{house}/{who}") for who in (ADMINISTRATOR, CUSTODIAN, *callers)]
    keys.init(folder, house, clients, secret=secret)
    _found_trust(folder, secret)


def _found_trust(folder: Path, secret: keys.Secret) -> None:
    """Version 1 of a trust root, which all trustees sign: it says what the policy says."""
    signers = {
        name: ed25519_signer(Ed25519PrivateKey.from_private_bytes(secret(f"trustee {name}")[:32]))
        for name in TRUSTEES
    }
    version = Version(
        number=1,
        expires_ms=TRUST_EXPIRES_MS,
        since_ms=0,
        policy=keys.read_policy(folder),
        trustees=TrustSet(
            keys=tuple(RoleKey(role=name, key=one.public_key) for name, one in signers.items()), threshold=2
        ),
    )
    root = write(version)
    for signer in signers.values():
        root = add_signature(root, signer, None)
    (folder / "trust").mkdir()
    (folder / "trust" / "1.root.json").write_bytes(root)


def client_folder(folder: Path, who: str) -> Path:
    """What a caller holds."""
    return folder / "clients" / who


def administrator_actor(folder: Path) -> str:
    """How the journal names the administrator: with its key."""
    certificate = (client_folder(folder, ADMINISTRATOR) / "client.crt").read_bytes()
    return identity_of(certificate).actor
