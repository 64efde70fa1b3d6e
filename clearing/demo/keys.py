"""The demonstration's keys: anyone can make them again from its seed, so they are fit for it and for nothing else."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from clearing import keys
from clearing.demo.door import ADMINISTRATOR, CUSTODIAN
from clearing.server.identity import identity_of, parse_spiffe


def make(folder: Path, seed: int, house: str, callers: Iterable[str]) -> None:
    """A key directory for ``house``, its administrator, its custodian and ``callers`` (``role/id``)."""

    def secret(purpose: str) -> bytes:
        return hashlib.sha512(f"demo {seed} {purpose}".encode()).digest()[: keys.SECRET_BYTES]

    clients = [parse_spiffe(f"spiffe://{house}/{who}") for who in (ADMINISTRATOR, CUSTODIAN, *callers)]
    keys.init(folder, house, clients, secret=secret)


def client_folder(folder: Path, who: str) -> Path:
    """What a caller holds."""
    return folder / "clients" / who


def administrator_actor(folder: Path) -> str:
    """How the journal names the administrator: with its key."""
    certificate = (client_folder(folder, ADMINISTRATOR) / "client.crt").read_bytes()
    return identity_of(certificate).actor
