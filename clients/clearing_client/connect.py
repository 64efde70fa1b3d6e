"""A connection to a house: mutual TLS with the keys it issued, retries as it publishes them.

A key directory holds ``ca.crt``, ``client.crt`` and ``client.key``. Only UNAVAILABLE is retried: nothing was
recorded then, or the same request id gets the first answer.
"""

from importlib.resources import files
from pathlib import Path

import grpc

SERVICE_CONFIG = "service_config.json"
KEEPALIVE_MS = 30_000


class KeysUnreadable(Exception):
    """The key directory lacks a file or may not be read."""


def channel(house: str, keys: Path) -> grpc.Channel:
    """A channel to ``house`` (host:port) with the certificate in ``keys``. Raises :class:`KeysUnreadable`.

    It connects when it is first used, and again when the connection is lost.
    """
    credentials = grpc.ssl_channel_credentials(
        root_certificates=_read(keys / "ca.crt"),
        private_key=_read(keys / "client.key"),
        certificate_chain=_read(keys / "client.crt"),
    )
    options = (
        (
            "grpc.service_config",
            files("clearing_client").joinpath(SERVICE_CONFIG).read_text(encoding="utf-8"),
        ),
        ("grpc.enable_retries", 1),
        ("grpc.keepalive_time_ms", KEEPALIVE_MS),
    )
    return grpc.secure_channel(house, credentials, options=options)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise KeysUnreadable(f"{path} cannot be read: {error.strerror}") from None
