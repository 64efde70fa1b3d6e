"""Any method of the interface, called by its descriptor."""

from collections.abc import Callable
from typing import Any, TypeAlias

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from clearing.server.services import DESCRIBED

METHODS = [method for service in DESCRIBED for method in service.methods]
IDS = [method.full_name.removeprefix("clearinghouse.v1.") for method in METHODS]
DEADLINE_S, STREAM_S, READ_MAX = 20.0, 3.0, 3

Invoke: TypeAlias = Callable[[list[Message]], object]
"""Sends messages (one, unless the method takes a stream) and reads an answer, of a stream a few."""


def invoker(
    connected: grpc.Channel,
    method: MethodDescriptor,
    heard: list[str] | None = None,
    read_max: int = READ_MAX,
) -> Invoke:
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
        return lambda asked: _some(stream(asked[0], timeout=STREAM_S), told, read_max)
    call: Any = connected.unary_unary(path, **codec)
    return lambda asked: told.append(str(call(asked[0], timeout=DEADLINE_S)))


def only_looks(method: MethodDescriptor, asked: list[Message]) -> bool:
    """Whether the method, or everything that is asked of it, says that it changes nothing."""
    reads = method.GetOptions().idempotency_level == MethodOptions.NO_SIDE_EFFECTS
    return reads or all(getattr(message, "validate_only", False) for message in asked)


def _some(answers: Any, told: list[str], read_max: int) -> None:
    """A few messages of a stream; whoever has read enough goes."""
    for count, answer in enumerate(answers):
        told.append(str(answer))
        if count >= read_max:
            break
    answers.cancel()
