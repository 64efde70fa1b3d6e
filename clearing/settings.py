"""Where the house runs: options of the command line, else ``CLEARING_*`` in the environment, else these."""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from ledger.store.connect import URL_FORMS, beside, open_store

_LISTEN = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})", re.ASCII)
PORT_MAX = 65_535
DEMONSTRATION = "demo-"
"""Begins the name of every house that is one."""
ANCHOR_SUFFIX, TILES_SUFFIX, REPORTS_SUFFIX = ".anchor", ".tiles", ".reports"


class SettingsRefused(ValueError):
    """Settings that cannot be used; the message names each."""


def _listen(text: str) -> str:
    matched = _LISTEN.fullmatch(text)
    if matched is None or int(matched[2]) > PORT_MAX:
        raise ValueError("write HOST:PORT, such as 127.0.0.1:7443 or [::1]:7443; port 0 takes a free one")
    if matched[1].startswith("["):
        ipaddress.IPv6Address(matched[1].strip("[]"))
    return text


def _database(url: str) -> str:
    try:
        open_store(url)  # connects to nothing yet
    except ValueError:
        raise ValueError(f"write {URL_FORMS}") from None
    return url


class Settings(BaseSettings):
    """Everything that a running house is told from outside."""

    model_config = SettingsConfigDict(env_prefix="CLEARING_", frozen=True, extra="forbid")

    database: Annotated[str, AfterValidator(_database)] = "sqlite:///clearing.db"
    listen: Annotated[str, AfterValidator(_listen)] = "127.0.0.1:7443"
    admin_listen: Annotated[str, AfterValidator(_listen)] | None = None
    """Where those who run the house find health, reflection and channelz, if anywhere."""
    metrics_listen: Annotated[str, AfterValidator(_listen)] | None = None
    """Where Prometheus finds the figures, without TLS, if anywhere."""
    rate_scale: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Multiplies every limit of a caller."""
    log_level: Literal["debug", "info", "warning"] = "info"
    keys: Path = Path("keys")
    state: Path | None = None
    """Where the public documents for verifiers are written, if anywhere."""
    anchor: Path | None = None
    """The file that remembers what was signed; a SQLite store has one beside it."""
    tiles_dir: Path | None = None
    """Where the public log is written as tiles; a SQLite store has a folder beside it."""
    reports_dir: Path | None = None
    """Where reports are kept once they were pulled, private ones too: beside a SQLite store, else beside the tiles.
    What is lost is made again.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where the public log of a served house stands, and where it keeps its reports."""

    anchor: Path
    tiles: Path
    reports: Path


def places_of(settings: Settings) -> Places:
    """Where anchor and tiles are. Raises :class:`SettingsRefused`, naming what has to be said."""
    anchor = settings.anchor or beside(settings.database, ANCHOR_SUFFIX)
    tiles = settings.tiles_dir or beside(settings.database, TILES_SUFFIX)
    if anchor is None or tiles is None:
        found = {
            "anchor: say --anchor FILE, where restoring the database does not reach": anchor,
            "tiles_dir: say --tiles-dir DIR, for the public log": tiles,
        }
        missing = "; ".join(sentence for sentence, path in found.items() if path is None)
        raise SettingsRefused(f"{missing} (only a SQLite file has a place beside it)")
    reports = settings.reports_dir or beside(settings.database, REPORTS_SUFFIX)
    return Places(
        anchor=anchor, tiles=tiles, reports=reports or tiles.with_name(f"{tiles.name}{REPORTS_SUFFIX}")
    )


def require_loopback(listen: str, option: str) -> None:
    """With ``option`` nobody but this machine may reach the house. Raises :class:`SettingsRefused`.

    A name is refused as well: what it means is for others to say.
    """
    try:
        is_loopback = ipaddress.ip_address(listen.rpartition(":")[0].strip("[]")).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise SettingsRefused(f"{option} is for this machine alone: 127.0.0.1 or [::1], not {listen}")


def require_demonstration(house: str, listen: str) -> None:
    """A clock that anybody steps is for a demonstration, which its name says. Raises :class:`SettingsRefused`."""
    if not house.startswith(DEMONSTRATION):
        raise SettingsRefused(
            f"--scenario-clock is for demonstrations, whose names begin with {DEMONSTRATION}: these keys are of {house}"
        )
    require_loopback(listen, "--scenario-clock")


def read_settings(**given: Any) -> Settings:
    """Settings in which what is ``given``, unless None, comes first. Raises :class:`SettingsRefused`."""
    chosen = {name: value for name, value in given.items() if value is not None}
    try:
        return Settings(**chosen)
    except ValidationError as error:
        found = (
            f"{'.'.join(map(str, e['loc']))}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()
        )
        raise SettingsRefused("; ".join(found)) from None
