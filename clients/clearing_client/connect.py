"""A connection to a house: mutual TLS with the keys it issued, retries as it publishes them.

A key directory holds ``ca.crt``, ``client.crt`` and ``client.key``. Only UNAVAILABLE is retried: nothing was
recorded then, or the same request id gets the first answer. The published ``service_config.json`` is for every
method: those that change something carry a request id, all others change nothing.
"""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import grpc

SERVICE_CONFIG = "service_config.json"
KEEPALIVE_MS = 30_000
RECONNECT_MIN_MS, RECONNECT_MAX_MS = 200, 5_000
"""A house that restarts is found again within seconds; gRPC alone would wait for up to two minutes."""
IDENTITY_METADATA = "x-clearing-identity"
LOOPBACK = ("127.0.0.1:", "localhost:", "[::1]:")


class KeysUnreadable(Exception):
    """The key directory lacks a file or may not be read."""


def channel(house: str, keys: Path) -> grpc.Channel:
    """A channel to ``house`` (host:port) with the certificate in ``keys``. Raises :class:`KeysUnreadable`.

    It connects when it is first used, and again when the connection is lost.
    """
    return grpc.secure_channel(house, _credentials(keys), options=_options())


def async_channel(
    house: str, keys: Path, interceptors: Sequence[grpc.aio.ClientInterceptor] = ()
) -> grpc.aio.Channel:
    """The same for asyncio, which wants its interceptors at once."""
    return grpc.aio.secure_channel(
        house, _credentials(keys), options=_options(), interceptors=list(interceptors)
    )


def insecure_channel(house: str) -> grpc.Channel:
    """A channel without TLS, on this machine only. Raises ``ValueError`` for any other address."""
    return grpc.insecure_channel(_loopback(house), options=_options())


def insecure_async_channel(
    house: str, interceptors: Sequence[grpc.aio.ClientInterceptor] = ()
) -> grpc.aio.Channel:
    """The same for asyncio."""
    return grpc.aio.insecure_channel(_loopback(house), options=_options(), interceptors=list(interceptors))


def service_config() -> str:
    """The published service config, JSON: what any gRPC client of a house may use."""
    return files("clearing_client").joinpath(SERVICE_CONFIG).read_text(encoding="utf-8")


def _credentials(keys: Path) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        root_certificates=_read(keys / "ca.crt"),
        private_key=_read(keys / "client.key"),
        certificate_chain=_read(keys / "client.crt"),
    )


def _options() -> tuple[tuple[str, Any], ...]:
    return (
        ("grpc.service_config", service_config()),
        ("grpc.enable_retries", 1),
        ("grpc.keepalive_time_ms", KEEPALIVE_MS),
        ("grpc.initial_reconnect_backoff_ms", RECONNECT_MIN_MS),
        ("grpc.max_reconnect_backoff_ms", RECONNECT_MAX_MS),
    )


def _loopback(house: str) -> str:
    if not house.startswith(LOOPBACK):
        raise ValueError(f"{house} is not on this machine: without TLS nobody else is asked")
    return house


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise KeysUnreadable(f"{path} cannot be read: {error.strerror}") from None
