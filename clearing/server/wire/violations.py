"""What is wrong with the fields of a request: everything at once.

The rules that stand in the proto are checked by protovalidate; what needs the state of the house (whole
ticks, known feeds) is added by the parsers. The first thing said of a field stands.
"""

from google.protobuf.message import Message
from protovalidate import ViolationPb, collect_violations


class RequestInvalid(Exception):
    """Fields of a request are wrong. ``fields`` says what is wrong with each."""

    def __init__(self, fields: dict[str, str]) -> None:
        super().__init__(f"{len(fields)} field(s) of the request are wrong")
        self.fields = fields


class Violations:
    """Wrong fields of one request, starting with what breaks a rule of its proto, unless surely nothing does."""

    def __init__(self, request: Message, *, surely_sound: bool = False) -> None:
        self.fields: dict[str, str] = {}
        for violation in () if surely_sound else collect_violations(request):
            self.add(_path(violation.proto), violation.proto.message or violation.proto.rule_id)

    def add(self, field: str, description: str) -> None:
        """Say that ``field`` is wrong, unless something was said of it before."""
        self.fields.setdefault(field, description)

    def require_none(self) -> None:
        """Raise :class:`RequestInvalid` if anything is wrong."""
        if self.fields:
            raise RequestInvalid(self.fields)


def require_valid(request: Message) -> None:
    """Raise :class:`RequestInvalid` if ``request`` breaks a rule of its proto."""
    Violations(request).require_none()


def _path(violation: ViolationPb) -> str:
    """``trades[2].price``."""
    path = ""
    for element in violation.field.elements if violation.field else ():
        index = "" if element.subscript is None else f"[{element.subscript.value}]"
        path += f".{element.field_name}{index}"
    return path.removeprefix(".")
