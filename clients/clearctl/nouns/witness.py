"""``clearctl witness``: cosign what a house's log signs, if it goes on from what was cosigned before. Loads no gRPC."""

import os
import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from clearctl.asked import REFUSED, WRONG_USE, asked_in, noun, stop
from clearctl.witnessing import WitnessServer
from clearctl.writing import write_done
from clearing.attest.policy import PolicyRefused, parse_policy
from clearing_client.witness import StateRefused, Witness, WitnessState
from ledger.checkpoint import (
    LOG_TYPES,
    KeyRefused,
    NotePrivateKey,
    VerifierKey,
    cosigner_key,
    format_vkey,
    parse_vkey,
    require_distinct_keys,
)

app = noun(
    "A witness: it cosigns a house's checkpoints, and never two histories. For members and regulators."
)

PASSPHRASE = "CLEARCTL_WITNESS_PASSPHRASE"  # noqa: S105  # where it is, not what it is
LISTEN = "127.0.0.1:7480"

Key = Annotated[
    Path, typer.Option(help="The private key; FILE.vkey beside it says who you are.", metavar="FILE")
]


@app.command()
def init(
    context: typer.Context,
    key: Key,
    name: Annotated[
        str, typer.Option(help="Who you are, such as regulator.example/witness.", metavar="NAME")
    ],
    encrypt: Annotated[
        bool, typer.Option("--encrypt", help=f"Under a passphrase: asked for, or in {PASSPHRASE}.")
    ] = False,
    ml_dsa: Annotated[
        bool, typer.Option("--ml-dsa", help="ML-DSA-44, which a quantum computer does not break.")
    ] = False,
) -> None:
    """Make the key of a witness, and say what the house writes into its policy.

    Example: clearctl witness init --key witness.key --name regulator.example/witness
    """
    private: NotePrivateKey = MLDSA44PrivateKey.generate() if ml_dsa else Ed25519PrivateKey.generate()
    try:
        vkey = format_vkey(cosigner_key(name, private))
    except KeyRefused as refused:
        stop(str(refused), WRONG_USE)
    sealing: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if encrypt:
        sealing = serialization.BestAvailableEncryption(_passphrase(confirm=True))
    pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealing)
    if not asked_in(context).dry_run:
        _create(key, pem, 0o600)
        _create(_vkey_path(key), f"{vkey}\n".encode(), 0o644)
    told = f"The key is in {key}. For the policy of the house, with the place where it reaches you:"
    line = f"witness {_label(name)} {vkey} http://HOST:PORT"
    write_done(context, {"key": str(key), "vkey": vkey}, told, [line])


@app.command()
def run(
    context: typer.Context,
    key: Key,
    state: Annotated[Path, typer.Option(help="Remembers what was cosigned: never lose it.", metavar="DIR")],
    policy: Annotated[
        list[Path] | None, typer.Option(help="Of a house whose log to witness.", metavar="FILE")
    ] = None,
    log: Annotated[
        list[str] | None, typer.Option(help="A log to witness, by its key.", metavar="VKEY")
    ] = None,
    listen: Annotated[str, typer.Option(help="Where the house asks.", metavar="HOST:PORT")] = LISTEN,
    prefix: Annotated[str, typer.Option(help="In front of /add-checkpoint.", metavar="/PATH")] = "",
) -> None:
    """Answer a house that asks for cosignatures, until a signal comes. Each answer is a line on standard error.

    Example: clearctl witness run --key witness.key --state witness-state --policy policy.txt
    """
    place, logs = _place(listen), _logs(policy or [], log or [])
    if prefix and (not prefix.startswith("/") or prefix.endswith("/")):
        raise typer.BadParameter("a prefix is written /PATH")
    name, private = _read_key(key)
    try:
        kept = WitnessState(state)
        witness = Witness(name, private, logs, kept, lambda: int(time.time()))
        server = WitnessServer(place, witness, lambda said: typer.echo(said, err=True), prefix=prefix)
    except StateRefused as refused:
        stop(str(refused), REFUSED)
    except OSError as error:
        stop(f"{state} or {listen} cannot be used: {error.strerror}", REFUSED)
    _stop_on_signals(server)
    host, port = listen.rpartition(":")[0], server.server_address[1]
    at = {"name": name, "logs": sorted(logs), "listen": f"{host}:{port}"}
    write_done(context, at, f"witnessing {', '.join(sorted(logs))} as {name} on {host}:{port}")
    server.serve_forever()
    server.server_close()
    witness.close()


def _stop_on_signals(server: WitnessServer) -> None:
    def stopping(_number: int, _frame: FrameType | None) -> None:
        threading.Thread(
            target=server.shutdown, daemon=True
        ).start()  # it waits for the loop, which runs here

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stopping)


def _place(listen: str) -> tuple[str, int]:
    host, colon, port = listen.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit() and int(port) < 2**16):
        raise typer.BadParameter("write HOST:PORT")
    return host.strip("[]"), int(port)


def _logs(policies: list[Path], vkeys: list[str]) -> dict[str, tuple[VerifierKey, ...]]:
    """The logs to witness: those of the policies, and those whose keys have the log's own name."""
    found: dict[str, tuple[VerifierKey, ...]] = {}
    try:
        for path in policies:
            policy = parse_policy(_read(path))
            found[policy.origin] = (*found.get(policy.origin, ()), *policy.log_keys)
        for vkey in vkeys:
            key = parse_vkey(vkey)
            if key.type not in LOG_TYPES:
                raise typer.BadParameter(f"the key of {key.name} is a witness's, not a log's")
            found[key.name] = (*found.get(key.name, ()), key)
        logs = {origin: tuple(dict.fromkeys(keys)) for origin, keys in found.items()}
        for keys in logs.values():
            require_distinct_keys(keys)
    except (PolicyRefused, KeyRefused) as refused:
        stop(str(refused), WRONG_USE)
    if not logs:
        raise typer.BadParameter("say which log to witness: --policy or --log")
    return logs


def _read_key(path: Path) -> tuple[str, NotePrivateKey]:
    """Name and key of the witness, which fit each other."""
    pem = _read(path)
    secret = _passphrase(confirm=False) if b"ENCRYPTED" in pem else None
    try:
        public = parse_vkey(_read(_vkey_path(path)).decode().rstrip("\n"))
        private = serialization.load_pem_private_key(pem, password=secret)
    except ValueError as error:
        stop(f"{path} or {_vkey_path(path)} cannot be used: {error}", WRONG_USE)
    if not isinstance(private, Ed25519PrivateKey | MLDSA44PrivateKey):
        stop(f"{path} holds no key of a witness", WRONG_USE)
    if cosigner_key(public.name, private) != public:
        stop(f"{_vkey_path(path)} is not of the key in {path}", WRONG_USE)
    return public.name, private


def _passphrase(*, confirm: bool) -> bytes:
    given = os.environ.get(PASSPHRASE, "")
    found: str = given or typer.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm, err=True)
    return found.encode()


def _vkey_path(key: Path) -> Path:
    return key.with_name(f"{key.name}.vkey")


def _label(name: str) -> str:
    """A short name for a policy: what stands in front of the first dot or slash."""
    return name.replace("/", ".").partition(".")[0]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        stop(f"{path} cannot be read: {error.strerror}", WRONG_USE)


def _create(path: Path, data: bytes, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except OSError as error:
        stop(f"{path} cannot be made: {error.strerror}", WRONG_USE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
