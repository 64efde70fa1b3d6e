"""The one way to a house: connect, ask, send; what fails becomes a message and an exit code."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import typer
from cryptography import x509

from clearctl.asked import REFUSED, UNREACHABLE, WRONG_USE, Asked, asked_in, stop
from clearing_client.client import Client
from clearing_client.connect import KeysUnreadable
from clearing_client.errors import ClearingError
from clearing_client.reports import ReportBroken

Q = TypeVar("Q")
A = TypeVar("A")

FOUND_IT = (
    "  an administrator founds it: clearctl house template > founding.json, edit it, "
    "clearctl house found founding.json"
)


@contextmanager
def connected(context: typer.Context) -> Iterator[Client]:
    """A client by the options; what it raises ends the program."""
    asked = asked_in(context)
    try:
        with Client.connect(asked.house, keys_in(context)) as client:
            yield client
    except KeysUnreadable as error:
        stop(str(error), WRONG_USE)
    except ReportBroken as error:
        stop(str(error), REFUSED)
    except ClearingError as error:
        _refused(asked, error)


def keys_in(context: typer.Context) -> Path:
    """The folder of keys, which has to be named."""
    keys = asked_in(context).keys
    if keys is None:
        raise typer.BadParameter(
            "say where your keys are, or set CLEARCTL_KEYS, or add a profile", param_hint="--keys"
        )
    return keys


def own_member(context: typer.Context, given: str | None) -> str:
    """The member that a command acts for: as given, or as the certificate says."""
    path = keys_in(context) / "client.crt"
    parts = () if given else _spiffe_parts(path)
    if given is None and (len(parts) < 2 or parts[-2] not in {"member", "liquidity-provider"}):
        raise typer.BadParameter("your certificate is no member's: say for whom", param_hint="--member")
    return f"members/{(given or parts[-1]).removeprefix('members/')}"


def send(context: typer.Context, method: Callable[[Q], A], request: Q) -> A:
    """Send a change, under the request id of the options; with ``--dry-run`` it is only tried."""
    asked, sent = asked_in(context), _copy(request)
    sent.request_id = asked.request_id
    if asked.dry_run:
        if "validate_only" not in sent.DESCRIPTOR.fields_by_name:
            stop("this change cannot be tried without making it", WRONG_USE)
        sent.validate_only = True
    return method(sent)


def tried(method: Callable[[Q], A], request: Q) -> A:
    """What the house would answer to a change, which is not made."""
    only = _copy(request)
    only.validate_only = True
    return method(only)


def _copy(request: Any) -> Any:
    copied = type(request)()
    copied.CopyFrom(request)
    return copied


def _spiffe_parts(path: Path) -> tuple[str, ...]:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        stop(f"{path} cannot be read: {error}", WRONG_USE)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    (uri,) = names.get_values_for_type(x509.UniformResourceIdentifier)
    return tuple(uri.split("/"))


def _refused(asked: Asked, error: ClearingError) -> None:
    if error.unreachable:
        lines, code = [f"{asked.house} was not reached: {error.message}"], UNREACHABLE
        if error.request_id:
            lines.append(
                f"  whether it happened is unknown: send the same again with --request-id {error.request_id}"
            )
    else:
        lines, code = [str(error), *(f"  {v.field}: {v.description}" for v in error.violations)], REFUSED
        if error.reason == "HOUSE_NOT_FOUNDED":
            lines.append(FOUND_IT)
        if error.retry_delay_s is not None:
            lines.append(f"  it is worth trying again in {error.retry_delay_s:g} seconds")
    stop("\n".join(lines), code)
