"""``clearctl profile``: houses and keys under a name. There is no login: the certificate is it."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from clearctl.asked import WRONG_USE, Asked, Output, asked_in, noun, stop
from clearctl.profiles import ConfigRefused, Profiles, read_profiles, write_profiles
from clearctl.tables import Column
from clearctl.writing import write_done, write_rows

app = noun("Profiles: where a house is and where your keys are, under a name, so that you need not say it.")

Name = Annotated[str, typer.Argument(help="Its name.", metavar="NAME")]
PROFILES = (
    Column("", lambda row: "*" if row["inUse"] else ""),
    Column("profile", lambda row: row["name"]),
    Column("house", lambda row: row.get("house", "")),
    Column("keys", lambda row: row.get("keys", "")),
    Column("output", lambda row: row.get("output", "")),
)


@app.command("list")
def list_profiles(context: typer.Context) -> None:
    """List the profiles; the one in use has a star.

    Example: clearctl profile list
    """
    found = _profiles(asked_in(context))
    rows = [
        {"name": name, "inUse": name == found.in_use, **settings}
        for name, settings in sorted(found.by_name.items())
    ]
    write_rows(context, rows, f"Profiles in {asked_in(context).config}", PROFILES, "There is no profile yet.")


@app.command()
def add(
    context: typer.Context,
    name: Name,
    house: Annotated[str, typer.Option(help="Where the house serves.", metavar="HOST:PORT")],
    keys: Annotated[Path, typer.Option(help="Your ca.crt, client.crt and client.key.", metavar="DIR")],
    output: Annotated[Output | None, typer.Option(help="How answers are written.")] = None,
) -> None:
    """Add a profile, or write another under its name. The first one is put in use.

    Example: clearctl profile add alpha --house 127.0.0.1:7443 --keys keys/clients/member/alpha
    """
    settings = {"house": house, "keys": str(keys.expanduser().absolute())}
    more = {} if output is None else {"output": output.value}
    _change(context, lambda found: found.with_profile(name, {**settings, **more}), f"{name} is kept")


@app.command()
def use(context: typer.Context, name: Name) -> None:
    """Put a profile in use: it is the one without --profile.

    Example: clearctl profile use alpha
    """
    _change(context, lambda found: found.using(name), f"{name} is in use")


def _profiles(asked: Asked) -> Profiles:
    try:
        return read_profiles(asked.config)
    except ConfigRefused as error:
        stop(str(error), WRONG_USE)


def _change(context: typer.Context, changed: Callable[[Profiles], Profiles], told: str) -> None:
    asked = asked_in(context)
    try:
        wanted = changed(_profiles(asked))
        if not asked.dry_run:
            write_profiles(asked.config, wanted)
    except (ConfigRefused, OSError) as error:
        stop(str(error), WRONG_USE)
    write_done(
        context, {"use": wanted.in_use, "profiles": dict(wanted.by_name)}, f"{told}, in {asked.config}."
    )
