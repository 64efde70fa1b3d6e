"""The interface: what a call costs, and what many callers get, over mutual TLS. ``ONLY=grpc``."""

from collections.abc import Mapping

from bench import grpc_load
from bench.run import Part

PARTS: Mapping[str, Part] = {"grpc.load": grpc_load.rows}
