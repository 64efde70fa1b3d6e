"""``clearctl trust``: whom verifiers believe, and how that changes, offline and by several people. Loads no gRPC."""

import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from rich.console import RenderableType

from clearctl.asked import REFUSED, noun, stop
from clearctl.tables import facts
from clearctl.trusting import CannotTrust, read_root, walk
from clearctl.writing import write, write_done
from clearing.attest.envelope import EnvelopeRefused, RoleKey, SignerAway, TrustSet, ed25519_signer
from clearing.attest.policy import (
    Policy,
    PolicyRefused,
    format_public_key,
    parse_policy,
    parse_public_key,
    with_log_keys,
)
from clearing.attest.statement import format_time, parse_time
from clearing.attest.trust import (
    TrustReason,
    TrustRefused,
    Version,
    add_signature,
    missing,
    read,
    require_follows,
)
from clearing.attest.trust import write as write_version
from clearing.signing import KeysRefused, Passphrase, given_passphrase, private_pem, read_secret, read_signer
from ledger.checkpoint import KeyRefused, format_vkey, parse_vkey

app = noun(
    """The trust root: whom verifiers believe, and how that changes.

    A version of it names the officers, the log's keys and the witnesses, and the trustees, whose keys change it. A
    verifier pins version 1; each later one is signed by enough trustees of the version before it and of its own.
    A version is a file (TUF root metadata) that is passed around until enough have signed it. Nothing asks a house.
    """
)

VALID_DAYS = 365
LEAD_DAYS = 1
"""So long those who sign a version have, and the house: what old keys sign meanwhile has to stay good."""
_DAY_MS = 86_400_000
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_REFUSALS = (
    *(TrustRefused, PolicyRefused, EnvelopeRefused, KeyRefused),
    *(KeysRefused, CannotTrust, SignerAway, ValueError),
)

Version1 = Annotated[
    Path, typer.Argument(help="The version that you pinned, such as trust/1.root.json.", metavar="FILE")
]
One = Annotated[Path, typer.Argument(help="A version: NUMBER.root.json.", metavar="FILE")]
Trustees = Annotated[
    list[str] | None,
    typer.Option("--trustee", help="Whose key changes trust; once for each.", metavar="NAME=ed25519:…"),
]
Officers = Annotated[
    list[str] | None,
    typer.Option("--officer", help="An officer's new key; once for each.", metavar="ROLE=ed25519:…|p256:…"),
]
Logs = Annotated[list[str] | None, typer.Option("--log", help="A further key of the log.", metavar="VKEY")]
Dropped = Annotated[
    list[str] | None,
    typer.Option("--drop-log", help="A key of the log that is believed no more.", metavar="VKEY"),
]
NewPolicy = Annotated[
    Path | None,
    typer.Option(
        "--policy",
        help="Its logs, witnesses and quorum take the place of those now.",
        metavar="FILE",
    ),
]
Since = Annotated[
    str | None,
    typer.Option(
        help="From when on the officers sign.", metavar="now|TIME", show_default=f"{LEAD_DAYS} day from now"
    ),
]
Expires = Annotated[
    str | None,
    typer.Option(help="Until when it is good.", metavar="TIME", show_default=f"{VALID_DAYS} days from now"),
]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        help="Its first line is the key's passphrase.",
        metavar="FILE",
        show_default="CLEARING_PASSPHRASE, or you are asked",
    ),
]


@app.command()
def key(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Where the key goes; it must not exist.", metavar="FILE")],
    plain: Annotated[bool, typer.Option("--plain", help="Without a passphrase.")] = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Make a trustee's key, with a passphrase, and say its public half.

    Example: clearctl trust key anna.key
    """
    made = Ed25519PrivateKey.generate()
    public = format_public_key(ed25519_signer(made).public_key)
    try:
        data = private_pem(made, None if plain else _passphrase(passphrase_file, is_new=True)(str(file)))
        file.touch(mode=0o600, exist_ok=False)
        file.write_bytes(data)
    except OSError as error:
        stop(f"{file}: {error.strerror}", REFUSED)
    except KeysRefused as refused:
        stop(str(refused), REFUSED)
    write_done(context, {"file": str(file), "public": public}, f"{file} is made; its public half: {public}")


@app.command()
def init(
    context: typer.Context,
    policy: Annotated[Path, typer.Option(help="The policy as it is now.", metavar="FILE")],
    trustee: Trustees = None,
    threshold: Annotated[int, typer.Option(help="How many trustees must sign.", min=1)] = 2,
    expires: Expires = None,
    folder: Annotated[Path, typer.Option("--dir", help="Where versions are kept.", metavar="DIR")] = Path(
        "trust"
    ),
) -> None:
    """Make version 1 of a policy. It says who the officers are, and have been from the beginning.

    Example: clearctl trust init --policy policy.txt --trustee anna=ed25519:… --trustee ben=ed25519:… --dir trust
    """
    try:
        version = Version(
            number=1,
            expires_ms=_expires(expires),
            since_ms=0,
            policy=parse_policy(_read(policy)),
            trustees=TrustSet(keys=tuple(map(_role_key, trustee or ())), threshold=threshold),
        )
        _made(context, folder, version)
    except _REFUSALS as refused:
        _refuse(refused)


@app.command()
def rotate(
    context: typer.Context,
    pinned: Version1,
    officer: Officers = None,
    log: Logs = None,
    drop_log: Dropped = None,
    policy: NewPolicy = None,
    trustee: Trustees = None,
    drop_trustee: Annotated[
        list[str] | None, typer.Option("--drop-trustee", help="Who is a trustee no more.", metavar="NAME")
    ] = None,
    threshold: Annotated[int | None, typer.Option(help="How many trustees must sign.", min=1)] = None,
    officers_threshold: Annotated[
        int | None, typer.Option(help="How many officers must sign an attestation.", min=1)
    ] = None,
    since: Since = None,
    expires: Expires = None,
) -> None:
    """Make the next version, beside FILE: with what is asked for, and all else as in the newest version.

    It counts once enough trustees of the newest version and of this one have signed it (`clearctl trust sign`). With
    no change it renews the time until which the root is good. Officers who are replaced cannot sign for times from
    TIME on; what they signed before stays good, and what they sign for later times until the house has this version
    does not. So leave it a day, unless keys were stolen.

    Example: clearctl trust rotate trust/1.root.json --officer risk=p256:…
    """
    try:
        last = walk(pinned, [], None).newest
        believed = _renewed_policy(last.policy, policy, log or (), drop_log or ())
        version = Version(
            number=last.number + 1,
            expires_ms=_expires(expires),
            since_ms=_since(since),
            policy=replace(
                believed, trust=_replaced(last.policy.trust, officer or (), (), officers_threshold)
            ),
            trustees=_replaced(last.trustees, trustee or (), drop_trustee or (), threshold),
        )
        require_follows(last, version)
        _made(context, pinned.parent, version)
    except _REFUSALS as refused:
        _refuse(refused)


@app.command()
def sign(
    context: typer.Context,
    file: One,
    key_file: Annotated[
        Path, typer.Option("--key", help="A trustee's key, or a token file.", metavar="FILE")
    ],
    passphrase_file: PassphraseFile = None,
) -> None:
    """Sign a version as one of its trustees, or of those before it. Look at it first: `clearctl trust show FILE`.

    The version before it is read beside it. The signature is added to the file, which the next trustee gets.

    Example: clearctl trust sign trust/2.root.json --key anna.key
    """
    try:
        signer = read_signer(key_file, _passphrase(passphrase_file))
        data = add_signature(read_root(file), signer, _before(file))
        names, needed = missing(data, _before(file))
        _write(file, data)
    except _REFUSALS as refused:
        _refuse(refused)
    told = f"signatures missing: {needed}" if needed else "enough have signed it"
    write_done(
        context, {"signed": list(names), "missing": needed}, f"{file} is signed by {', '.join(names)}; {told}"
    )


@app.command()
def show(context: typer.Context, file: One) -> None:
    """Show what a version says, and who has signed it; nothing is believed.

    Example: clearctl trust show trust/2.root.json
    """
    try:
        data = read_root(file)
        version, (names, needed) = read(data), missing(data, _before(file))
    except _REFUSALS as refused:
        _refuse(refused)
    answer = _plain(version) | {"signed": list(names), "missing": needed}
    write(context, answer, lambda: _tables(version, names, needed))


@app.command()
def verify(
    context: typer.Context,
    pinned: Version1,
    at: Annotated[
        str | None, typer.Option(help="The newest must be good at this time.", metavar="TIME")
    ] = None,
) -> None:
    """Walk from the version that you pinned to the newest beside it, and check each.

    Example: clearctl trust verify trust/1.root.json
    """
    try:
        now_ms = _now_ms() if at is None else parse_time(at)
        chain = walk(pinned, [], now_ms)
    except _REFUSALS as refused:
        _refuse(refused)
    newest = chain.newest
    until = format_time(newest.expires_ms)
    sentence = (
        f"version {newest.number} holds from version {chain.versions[0].number} on, and is good until {until}"
    )
    write_done(context, [_plain(one) for one in chain.versions], sentence)


# --- versions ------------------------------------------------------------------------------------------


def _renewed_policy(now: Policy, file: Path | None, logs: Iterable[str], dropped: Iterable[str]) -> Policy:
    """The policy of the next version; its officers are looked after elsewhere."""
    given = now if file is None else parse_policy(_read(file))
    drop = {parse_vkey(vkey) for vkey in dropped}
    unknown = drop - {*given.log_keys}
    if unknown:
        raise TrustRefused(TrustReason.POLICY, f"{format_vkey(unknown.pop())} is no key of the log now")
    return with_log_keys(given, added=[parse_vkey(vkey) for vkey in logs], dropped=drop)


def _replaced(
    now: TrustSet, changes: Iterable[str], dropped: Iterable[str], threshold: int | None
) -> TrustSet:
    """Those of ``now`` with ``changes`` in the place of what their role had, and without those ``dropped``."""
    keys = {one.role: one for one in now.keys}
    for role in dropped:
        if keys.pop(role, None) is None:
            raise ValueError(f"{role} is not there to be dropped")
    for change in map(_role_key, changes):
        keys[change.role] = change
    return TrustSet(keys=tuple(keys.values()), threshold=threshold or now.threshold)


def _role_key(text: str) -> RoleKey:
    role, is_given, spelt = text.partition("=")
    if not is_given or not _NAME.fullmatch(role):
        raise ValueError(f"{text}: write NAME=ed25519:<base64> or NAME=p256:<base64>")
    return RoleKey(role=role, key=parse_public_key(spelt))


def _since(text: str | None) -> int:
    if text is None:
        return _now_ms() + LEAD_DAYS * _DAY_MS
    return _now_ms() if text == "now" else parse_time(text)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _expires(text: str | None) -> int:
    """To the second, as TUF has it."""
    given_ms = _now_ms() + VALID_DAYS * _DAY_MS if text is None else parse_time(text)
    return given_ms // 1_000 * 1_000


def _made(context: typer.Context, folder: Path, version: Version) -> None:
    """Write a version that nobody has signed yet."""
    file = folder / f"{version.number}.root.json"
    data = write_version(version)
    _, needed = missing(data, _before(file))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with file.open("xb") as fresh:
            fresh.write(data)
    except OSError as error:
        stop(f"{file}: {error.strerror}", REFUSED)
    sentence = f"{file} is made; signatures missing: {needed}; clearctl trust sign {file} --key FILE"
    write_done(context, {"file": str(file), "missing": needed}, sentence)


def _before(file: Path) -> bytes | None:
    """The version before the one in ``file``, beside it; the first has none."""
    number = int(file.name.partition(".")[0]) if file.name[:1].isdigit() else 0
    if number == 0:
        raise CannotTrust(f"{file} is not named as a version is: 1.root.json")
    return None if number == 1 else read_root(file.with_name(f"{number - 1}.root.json"))


def _plain(version: Version) -> dict[str, Any]:
    """A version for a program."""
    policy = version.policy
    return {
        "version": version.number,
        "origin": policy.origin,
        "expires": format_time(version.expires_ms),
        "since": format_time(version.since_ms),
        "logs": [format_vkey(one) for one in policy.log_keys],
        "officers": {one.role: format_public_key(one.key) for one in policy.trust.keys},
        "officersThreshold": policy.trust.threshold,
        "trustees": {one.role: format_public_key(one.key) for one in version.trustees.keys},
        "threshold": version.trustees.threshold,
    }


def _tables(version: Version, names: tuple[str, ...], needed: int) -> Iterator[RenderableType]:
    policy, trustees = version.policy, version.trustees
    told = f"missing: {needed}" if needed else "enough"
    yield facts(
        [
            ("Version", f"{version.number} of {policy.origin}"),
            ("Good until", format_time(version.expires_ms)),
            ("Officers", f"{policy.trust.threshold} of these, from {format_time(version.since_ms)} on"),
            *((f"  {one.role}", format_public_key(one.key)) for one in policy.trust.keys),
            *(("Log", format_vkey(one)) for one in policy.log_keys),
            ("Trustees", f"{trustees.threshold} of these"),
            *((f"  {one.role}", format_public_key(one.key)) for one in trustees.keys),
            ("Signed by", f"{', '.join(names) or 'nobody'}; {told}"),
        ]
    )


# --- files ---------------------------------------------------------------------------------------------


def _passphrase(file: Path | None, *, is_new: bool = False) -> Passphrase:
    """Asks for a passphrase: a file, the environment, or whoever sits at the terminal."""

    def ask(what: str) -> bytes:
        if file is not None:
            return read_secret(file)
        try:
            return given_passphrase(what)
        except KeysRefused:
            if not typer.get_text_stream("stdin").isatty():
                raise
        asked: str = typer.prompt(
            f"Passphrase of {what}", hide_input=True, confirmation_prompt=is_new, err=True
        )
        return asked.encode()

    return ask


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CannotTrust(f"{path} cannot be read: {error.strerror}") from None


def _write(path: Path, data: bytes) -> None:
    fresh = path.with_name(f".{path.name}.new")
    try:
        fresh.write_bytes(data)
        fresh.replace(path)
    except OSError as error:
        raise CannotTrust(f"{path} cannot be written: {error.strerror}") from None


def _refuse(refused: Exception) -> NoReturn:
    reason = f"{refused.reason.value}: " if isinstance(refused, TrustRefused) else ""
    stop(f"{reason}{refused}", REFUSED)
