"""Any method of the interface, called by its descriptor."""

from collections.abc import Callable
from itertools import islice
from typing import Any, TypeAlias

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from clearing.server.services import DESCRIBED

METHODS = [method for service in DESCRIBED for method in service.methods]
IDS = [method.full_name.removeprefix("clearinghouse.v1.") for method in METHODS]
DEADLINE_S = 20.0
HEARD_S, HEARD_MAX = 3.0, 100
"""How long a stream is listened to, and how much of it is heard, by who wants to hear what it says."""

Invoke: TypeAlias = Callable[[list[Message]], object]
"""Sends messages (one, unless the method takes a stream) and reads an answer, of a stream the first."""


def invoker(connected: grpc.Channel, method: MethodDescriptor, heard: list[str] | None = None) -> Invoke:
    """Calls ``method`` over a channel; raises ``grpc.RpcError``. What is answered is added to ``heard``."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    codec: dict[str, Any] = {
        "request_serializer": GetMessageClass(method.input_type).SerializeToString,
        "response_deserializer": GetMessageClass(method.output_type).FromString,
    }
    told = [] if heard is None else heard
    if method.client_streaming:
        bulk: Any = connected.stream_unary(path, **codec)
        return lambda asked: told.append(str(bulk(iter(asked), timeout=DEADLINE_S)))
    if method.server_streaming:
        stream: Any = connected.unary_stream(path, **codec)
        if heard is None:
            return lambda asked: _first(stream(asked[0], timeout=DEADLINE_S))
        return lambda asked: _all(stream(asked[0], timeout=HEARD_S), told)
    call: Any = connected.unary_unary(path, **codec)
    return lambda asked: told.append(str(call(asked[0], timeout=DEADLINE_S)))


def only_looks(method: MethodDescriptor, asked: list[Message]) -> bool:
    """Whether the method, or everything that is asked of it, says that it changes nothing."""
    reads = method.GetOptions().idempotency_level == MethodOptions.NO_SIDE_EFFECTS
    return reads or all(getattr(message, "validate_only", False) for message in asked)


def _first(answers: Any) -> None:
    """The first message of a stream; whoever has read enough goes."""
    next(answers, None)
    answers.cancel()


def _all(answers: Any, told: list[str]) -> None:
    """What a stream says until it ends or waits."""
    told.extend(str(answer) for answer in islice(answers, HEARD_MAX))
    answers.cancel()
