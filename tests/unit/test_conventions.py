"""The conventions that common.proto promises hold in every method, by its descriptor."""

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions

from buf.validate import validate_pb2
from clearing.server.services import DESCRIBED
from clearinghouse.v1 import rules_pb2

METHODS = [method for service in DESCRIBED for method in service.methods]
IDS = [method.full_name.removeprefix("clearinghouse.v1.") for method in METHODS]
PLAIN_NAMES = {"display_name", "file_name"}
"""What people call a thing; any other name is a resource name, in a field that is called what it names."""

SAYS_ITS_OWN_SIZE = {
    *("GetAttestation", "ListAttestations"),  # `tree_size`, signed
    *("GetCheckpoint", "GetReceipt", "GetConsistencyProof", "GetInclusionProof", "GetTile"),
    *("ListReports", "DownloadReport"),  # the list is the same for ever; a file is `as_of`
    "StreamEvents",  # a sequence on each
}
BY_SEQUENCE = {"ListEvents"}
"""Lists that go on behind a sequence of the journal, which no token has to keep."""

NO_PREVIEW = {
    "PublishPrices",  # signed and numbered: to publish is to mean it
    "StreamTrades",  # for volume; SubmitTrades has it
}


def is_read(method: MethodDescriptor) -> bool:
    return method.GetOptions().idempotency_level == MethodOptions.NO_SIDE_EFFECTS


def rules(field: FieldDescriptor) -> validate_pb2.FieldRules:
    return field.GetOptions().Extensions[validate_pb2.field]


def messages(kind: Descriptor, seen: set[str]) -> list[Descriptor]:
    """The message and all that it carries."""
    if kind.full_name in seen:
        return []
    seen.add(kind.full_name)
    carried = [field.message_type for field in kind.fields if field.message_type is not None]
    return [kind, *(found for one in carried for found in messages(one, seen))]


@pytest.mark.parametrize("method", METHODS, ids=IDS)
def test_a_request_and_an_answer_are_named_after_their_method_alone(method: MethodDescriptor) -> None:
    assert method.input_type.name == f"{method.name}Request"
    assert method.output_type.name == f"{method.name}Response"


@pytest.mark.parametrize("method", METHODS, ids=IDS)
def test_a_change_carries_a_request_id_in_its_second_field(method: MethodDescriptor) -> None:
    fields = method.input_type.fields_by_name
    assert is_read(method) is ("request_id" not in fields)
    if not is_read(method):
        assert fields["request_id"].number == 2
        assert rules(fields["request_id"]).string.Extensions[rules_pb2.request_id]
        assert ("validate_only" in fields) is (method.name not in NO_PREVIEW)


@pytest.mark.parametrize("method", METHODS, ids=IDS)
def test_a_list_comes_in_pages(method: MethodDescriptor) -> None:
    asked, answered = method.input_type.fields_by_name, method.output_type.fields_by_name
    if method.name.startswith("List") and method.name not in BY_SEQUENCE:
        assert {"page_size", "page_token"} <= set(asked)
    paged = "page_token" in asked
    assert paged is ("next_page_token" in answered)
    if paged:
        assert rules(asked["page_size"]).int32.gte == 0
        assert rules(asked["page_token"]).string.max_len == 512


@pytest.mark.parametrize("method", METHODS, ids=IDS)
def test_a_read_says_of_how_many_entries_it_speaks(method: MethodDescriptor) -> None:
    says = "journal_size" in method.output_type.fields_by_name
    assert says is (is_read(method) and method.name not in SAYS_ITS_OWN_SIZE)


def test_fields_are_called_alike_everywhere() -> None:
    seen: set[str] = set()
    kinds = [one for m in METHODS for top in (m.input_type, m.output_type) for one in messages(top, seen)]
    for field in (
        field for kind in kinds for field in kind.fields if kind.file.package == "clearinghouse.v1"
    ):
        where = field.full_name
        assert not field.name.endswith("_name") or field.name in PLAIN_NAMES, where
        is_time = field.message_type is not None and field.message_type.name == "Timestamp"
        assert is_time is field.name.endswith("_time") or field.name == "time", where
        if field.name.endswith(("_bp", "_ppm", "_count", "_business_days")):
            assert field.type == FieldDescriptor.TYPE_INT32, where
        if field.name in {"version", "parameters_version", "base_version"}:
            assert field.type == FieldDescriptor.TYPE_INT32, where
        if field.name in {"amount", "price", "cash", "equity"}:
            assert field.type == FieldDescriptor.TYPE_STRING, where
