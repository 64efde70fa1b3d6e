"""Profiles: houses and keys under a name, in a file of one's own. There is no login: the certificate is it."""

import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FIELDS = ("house", "keys", "output")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}", re.ASCII)


class ConfigRefused(Exception):
    """The file is not one of profiles, or does not have the one that was asked for."""


@dataclass(frozen=True)
class Profiles:
    """Everything in the file: profiles by name, each with some of :data:`FIELDS`, and the one in use."""

    in_use: str = ""
    by_name: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def settings(self, name: str) -> Mapping[str, str]:
        """The profile ``name``, or the one in use if none is named. Raises :class:`ConfigRefused`."""
        wanted = name or self.in_use
        if wanted and wanted not in self.by_name:
            known = ", ".join(sorted(self.by_name)) or "none"
            raise ConfigRefused(f"there is no profile {wanted}; there is {known}")
        return self.by_name.get(wanted, {})

    def using(self, name: str) -> "Profiles":
        """The same with another profile in use. Raises :class:`ConfigRefused`."""
        self.settings(name)
        return Profiles(name, self.by_name)

    def with_profile(self, name: str, settings: Mapping[str, str]) -> "Profiles":
        """The same with a profile more, or another under its name; the first one is put in use.

        Raises :class:`ConfigRefused`.
        """
        if not _NAME.fullmatch(name):
            raise ConfigRefused("a profile's name is 1 to 32 letters, digits, _ or -")
        return Profiles(self.in_use or name, {**self.by_name, name: settings})


def config_path(environment: Mapping[str, str]) -> Path:
    """Where the file is: CLEARCTL_CONFIG, else by XDG."""
    if environment.get("CLEARCTL_CONFIG"):
        return Path(environment["CLEARCTL_CONFIG"])
    base = environment.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "clearctl" / "config.toml"


def read_profiles(path: Path) -> Profiles:
    """What the file says; nothing if there is none. Raises :class:`ConfigRefused`."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Profiles()
    except (OSError, ValueError) as error:
        raise ConfigRefused(f"{path}: {error}") from None
    return _checked(path, found)


def write_profiles(path: Path, profiles: Profiles) -> None:
    """Write the file anew, at once or not at all."""
    lines = [f"use = {json.dumps(profiles.in_use)}"]
    for name, settings in sorted(profiles.by_name.items()):
        lines += ["", f"[profiles.{name}]"]
        lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in settings.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text("\n".join([*lines, ""]), encoding="utf-8")
    beside.replace(path)


def _checked(path: Path, found: Mapping[str, Any]) -> Profiles:
    in_use, by_name = found.get("use", ""), found.get("profiles", {})
    if not isinstance(in_use, str) or not isinstance(by_name, dict) or found.keys() - {"use", "profiles"}:
        raise ConfigRefused(f"{path}: it has `use` and tables [profiles.NAME], and nothing else")
    for name, settings in by_name.items():
        if not isinstance(settings, dict) or not _NAME.fullmatch(name):
            raise ConfigRefused(f"{path}: {name} is no profile")
        for key, value in settings.items():
            if key not in FIELDS or not isinstance(value, str):
                raise ConfigRefused(f"{path}: {name}: {key} is not one of {', '.join(FIELDS)}, or no text")
    return Profiles(in_use, by_name)
