"""What officers sign of a report (in-toto Statement v1 in a DSSE envelope).

Rules kept here (attestation.md §5, rulebook §14): the subject is the file, by name and SHA-256. The predicate says of
what it speaks: house, report, the number of entries and the checkpoint over them, the parameters and the model in
force, what it was asked for with, whose part it is, and the SHA-256 of the report in JSON, of which each other form is
made; and when it was signed. Every value is a string. A missing, an unknown or a repeated member is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from clearing.attest.envelope import JsonRefused, JsonValue, VerifiedPayload, canonical_json, read_json
from clearing.attest.statement import STATEMENT_TYPE, parse_time
from ledger.checkpoint import Checkpoint

PREDICATE_TYPE = "https://clearing-house.dev/report/v1"
MEMBERS = (
    *("report", "title", "rule", "house", "as_of", "as_of_time", "origin", "root", "parameters_version"),
    *(
        "parameters_digest",
        "model",
        "model_version",
        "given",
        "members",
        "form",
        "json_sha256",
        "signed_time",
    ),
)
"""What the predicate says: the head of the report, and its form."""


class ReportRefused(ValueError):
    """A signed statement that is not about a report, or not as this module writes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportStatement:
    """What is signed: the file, and ``said``, the texts of the predicate by their names (``MEMBERS``)."""

    file_name: str
    sha256: str
    said: Mapping[str, str]

    @property
    def tree(self) -> Checkpoint:
        """The tree of the entries that the report speaks of."""
        return Checkpoint(
            origin=self.said["origin"], size=int(self.said["as_of"]), root=bytes.fromhex(self.said["root"])
        )

    @property
    def signed_ms(self) -> int:
        """When it was signed: who was an officer then had to sign."""
        return parse_time(self.said["signed_time"])


def build(statement: ReportStatement) -> bytes:
    """The payload: canonical JSON. Raises :class:`ReportRefused` if :func:`parse` would read something else."""
    predicate: dict[str, JsonValue] = dict(statement.said)
    payload = canonical_json(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": statement.file_name, "digest": {"sha256": statement.sha256}}],
            "predicateType": PREDICATE_TYPE,
            "predicate": predicate,
        }
    )
    if parse(VerifiedPayload(payload)) != statement:
        raise ReportRefused("it does not read back as it was built")
    return payload


def parse(payload: VerifiedPayload) -> ReportStatement:
    """The statement in bytes that were verified before. Raises :class:`ReportRefused`."""
    try:
        value = read_json(payload)
    except JsonRefused as refused:
        raise ReportRefused(str(refused)) from None
    match value:
        case {
            "_type": str(kind),
            "subject": [{"name": str(name), "digest": {"sha256": str(sha256), **more}, **others}],
            "predicateType": str(about),
            "predicate": dict(said),
            **rest,
        } if (kind, about) == (STATEMENT_TYPE, PREDICATE_TYPE) and not (more or others or rest):
            return _statement(name, sha256, said)
    raise ReportRefused("it is no statement about a report")


def _statement(name: str, sha256: str, said: Mapping[str, JsonValue]) -> ReportStatement:
    texts = {key: text for key, text in said.items() if isinstance(text, str)}
    if texts.keys() != set(MEMBERS) or len(said) != len(MEMBERS):
        raise ReportRefused("the predicate does not say what one about a report does")
    statement = ReportStatement(file_name=name, sha256=sha256, said=texts)
    try:
        tree, _ = statement.tree, statement.signed_ms
    except ValueError as error:
        raise ReportRefused(f"the predicate names no state of a journal: {error}") from None
    if (str(tree.size), tree.root.hex()) != (texts["as_of"], texts["root"]):
        raise ReportRefused("the predicate spells a number or a root as nobody writes it here")
    return statement
