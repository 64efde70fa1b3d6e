"""Risk statements: what is written reads back, and whatever is not exactly that is refused with its path."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clearing.attest.envelope import VerifiedPayload
from clearing.attest.statement import (
    MAX_BREAKERS,
    MAX_COUNT,
    MAX_DEFAULTS,
    MAX_GATES,
    MAX_PROOF_HASHES,
    MAX_TEXT_BYTES,
    MAX_TIERS,
    MAX_TOTAL_MINOR,
    MAX_UNITS,
    PREDICATE_TYPE,
    STATEMENT_TYPE,
    Breaches,
    Calls,
    CircuitBreaker,
    Gate,
    Inputs,
    Journal,
    Liabilities,
    Model,
    Netting,
    OpenDefault,
    Resources,
    Statement,
    StatementReason,
    StatementRefused,
    Stress,
    Totals,
    attested_checkpoint,
    build,
    format_time,
    parse,
    parse_time,
    payload_digest,
)
from ledger.merkle import Frontier, consistency_path, leaf_hash

GOLDEN = Path(__file__).parents[1] / "golden" / "attestation.statement.json"
NOON_MS = 1_772_366_400_000  # 2026-03-01T12:00:00Z
LEAVES = [leaf_hash(bytes([number])) for number in range(7)]


JOURNAL = Journal(
    origin="house.example/journal",
    tree_size=7,
    root_hash=Frontier().extend(LEAVES).root(),
    previous_tree_size=4,
    consistency=consistency_path(LEAVES, 4),
)
SPENT = Resources(
    margin_required_minor=700_000,
    margin_held_minor=-300,
    pool_required_minor=20_000,
    pool_held_minor=19_972,
    skin_in_the_game_minor=0,
    second_tranche_minor=0,
    insurance_fund_minor=0,
    assessments_available_minor=39_984,
)
STRESS = Stress(
    scenario_set_digest=payload_digest(b"scenarios"),
    cover1_minor=400,
    cover2_minor=650,
    prefunded_minor=20_000,
    worst_scenario="march-2020 fall",
)
WORKED_EXAMPLE = OpenDefault(
    default="d-1",
    stage="assessing",
    loss_minor=80,
    draws_minor={
        "contribution": 20,
        "skin_in_the_game": 10,
        "insurance_fund": 5,
        "pool": 8,
        "second_tranche": 1,
        "assessments": 16,
        "gains": 20,
    },
    uncovered_minor=0,
)


def after_a_default() -> Statement:
    """Attestation 2 of a house with one open default, the worked example of rulebook §11."""
    return Statement(
        issuer="house.example",
        sequence=2,
        previous=payload_digest(b"attestation 1"),
        as_of_ms=NOON_MS,
        valid_until_ms=NOON_MS + 3_600_000,
        journal=JOURNAL,
        trial_balance={
            "BTC": Totals(debits_minor=0, credits_minor=0),
            "USDC": Totals(debits_minor=1_000_300, credits_minor=1_000_300),
        },
        resources=SPENT,
        stress=STRESS,
        calls=Calls(count=1, amount_minor=100),
        breaches=Breaches(count=2, amount_minor=300),
        gates=(Gate(scope="all", reason="assessments unpaid", since_ms=NOON_MS - 1),),
        breakers=(
            CircuitBreaker(scope="BTC-PERP", state="reduce_only", trigger="price_move", since_ms=NOON_MS - 1),
        ),
        netting=Netting(standalone_minor=900_000, portfolio_minor=700_000),
        model=Model(
            name="expected_shortfall",
            version="1",
            parameters_digest=payload_digest(b"parameters"),
            prices_digest=payload_digest(b"prices"),
            code_digest=payload_digest(b"code"),
        ),
        inputs=Inputs(root=payload_digest(b"inputs"), count=52),
        liabilities=Liabilities(
            root=payload_digest(b"liabilities"),
            leaf_count=3,
            totals_minor={"BTC": 0, "USDC": 1_000_300},
            receivables_minor={"BTC": 0, "USDC": 300},
        ),
        waterfall=(WORKED_EXAMPLE,),
    )


def quiet_first() -> Statement:
    """Attestation 1 of a house at peace."""
    statement = after_a_default()
    return replace(
        statement,
        sequence=1,
        previous=bytes(32),
        journal=replace(statement.journal, previous_tree_size=0, consistency=()),
        waterfall=(),
    )


def document() -> Any:
    return json.loads(build(after_a_default()))


def refused(reason: StatementReason, path: str, payload: bytes) -> None:
    with pytest.raises(StatementRefused) as caught:
        parse(VerifiedPayload(payload))
    assert (caught.value.reason, caught.value.path) == (reason, path)
    assert str(caught.value).startswith(path)


def refused_when(reason: StatementReason, path: str, change: Callable[[Any], object]) -> None:
    """Refused after ``change`` was made to the document of :func:`after_a_default`."""
    changed = document()
    change(changed)
    refused(reason, path, json.dumps(changed).encode())


def refused_build(reason: StatementReason, statement: Statement) -> None:
    with pytest.raises(StatementRefused) as caught:
        build(statement)
    assert caught.value.reason is reason


# --- what is written -----------------------------------------------------------------------------------


def test_the_statement_is_the_golden_one() -> None:
    assert build(after_a_default()) == GOLDEN.read_bytes()
    assert parse(VerifiedPayload(GOLDEN.read_bytes())) == after_a_default()


def test_a_statement_is_canonical_json() -> None:
    payload = build(after_a_default())
    text = json.dumps(json.loads(payload), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert payload == text.encode()


def test_a_statement_is_an_in_toto_statement_about_its_checkpoint() -> None:
    found = document()
    assert (found["_type"], found["predicateType"]) == (STATEMENT_TYPE, PREDICATE_TYPE)
    assert [entry["name"] for entry in found["subject"]] == ["house.example/journal@7"]
    checkpoint = attested_checkpoint(after_a_default())
    assert (checkpoint.size, checkpoint.root) == (7, Frontier().extend(LEAVES).root())


def test_no_json_number_is_ever_written() -> None:
    def refuse(text: str) -> None:
        pytest.fail(f"the number {text} was written")

    json.loads(build(after_a_default()), parse_int=refuse, parse_float=refuse)


def test_without_an_open_default_there_is_no_waterfall() -> None:
    payload = build(quiet_first())
    assert b"waterfall" not in payload
    assert parse(VerifiedPayload(payload)) == quiet_first()


def test_a_default_before_its_waterfall_has_no_draws_yet() -> None:
    event = replace(after_a_default().waterfall[0], stage="declared", draws_minor={}, uncovered_minor=0)
    statement = replace(after_a_default(), waterfall=(event,))
    assert parse(VerifiedPayload(build(statement))).waterfall == (event,)


def test_times_are_milliseconds_inside_and_rfc_3339_outside() -> None:
    assert format_time(NOON_MS + 7) == "2026-03-01T12:00:00.007Z"
    assert parse_time("2026-03-01T12:00:00.007Z") == NOON_MS + 7
    assert parse_time("1970-01-01T00:00:00.000Z") == 0


# --- the form ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "payload", [b"", b"{", b"\xff", b"{}{}", b"[NaN]", b'{"a":"1","a":"1"}', b"[" * 100_000, b'"\\ud800"']
)
def test_what_is_not_one_json_value_is_refused(payload: bytes) -> None:
    refused(StatementReason.NOT_JSON, "$", payload)


def test_a_duplicate_member_deep_inside_is_refused() -> None:
    payload = build(after_a_default()).replace(b'"amount":"100"', b'"amount":"100","amount":"100"')
    refused(StatementReason.NOT_JSON, "$", payload)


@pytest.mark.parametrize("text", ["1", "1.0", "-1", "1e400", pytest.param("9" * 5000, id="many digits")])
def test_a_json_number_is_refused_where_it_stands(text: str) -> None:
    payload = build(after_a_default()).replace(b'"amount":"100"', f'"amount":{text}'.encode())
    refused(StatementReason.JSON_NUMBER, "$.predicate.calls.amount", payload)


def test_a_json_number_is_refused_even_where_a_name_belongs() -> None:
    refused_when(StatementReason.JSON_NUMBER, "$.predicate.issuer", lambda d: d["predicate"].update(issuer=1))


@pytest.mark.parametrize("value", [None, True, [], {}])
def test_a_value_that_is_no_string_is_refused(value: object) -> None:
    refused_when(StatementReason.KIND, "$.predicate.issuer", lambda d: d["predicate"].update(issuer=value))


def test_lists_and_objects_must_be_lists_and_objects() -> None:
    refused(StatementReason.KIND, "$", b"[]")
    refused(StatementReason.KIND, "$", b'"text"')
    refused_when(StatementReason.KIND, "$.predicate.gates", lambda d: d["predicate"].update(gates={}))
    refused_when(StatementReason.KIND, "$.predicate.gates[0]", lambda d: d["predicate"].update(gates=[[]]))
    refused_when(StatementReason.KIND, "$.predicate.netting", lambda d: d["predicate"].update(netting=[]))


def every_member(found: Any, path: str = "$") -> list[tuple[str, Any, str]]:
    """Every (path, object, member) of the document, except members that are names of units and tiers."""
    if isinstance(found, list):
        return [
            member for index, entry in enumerate(found) for member in every_member(entry, f"{path}[{index}]")
        ]
    if not isinstance(found, dict):
        return []
    inner = [member for name, entry in found.items() for member in every_member(entry, f"{path}.{name}")]
    if path.endswith(("trialBalance", "draws", "digest", "totals", "receivables")):
        return inner
    return [*((f"{path}.{name}", found, name) for name in found), *inner]


MEMBERS = [path for path, _, name in every_member(document()) if name != "waterfall"]


@pytest.mark.parametrize("path", MEMBERS)
def test_a_missing_member_is_refused_by_its_path(path: str) -> None:
    def drop(found: Any) -> None:
        holder, name = next((holder, name) for at, holder, name in every_member(found) if at == path)
        del holder[name]

    refused_when(StatementReason.MISSING_MEMBER, path, drop)


@pytest.mark.parametrize("path", sorted({path.rpartition(".")[0] for path in MEMBERS}))
def test_an_unknown_member_is_refused_by_its_path(path: str) -> None:
    def add(found: Any) -> None:
        next(holder for at, holder, _ in every_member(found) if at.rpartition(".")[0] == path)["extra"] = "1"

    refused_when(StatementReason.UNKNOWN_MEMBER, f"{path}.extra", add)


@pytest.mark.parametrize("text", ["", "01", "-0", "+1", "1.0", "1e3", " 1", "1_0", "٣", "0x1", "1" * 59])
def test_a_number_not_written_in_its_one_way_is_refused(text: str) -> None:
    refused_when(
        StatementReason.FORM,
        "$.predicate.calls.amount",
        lambda d: d["predicate"]["calls"].update(amount=text),
    )


@pytest.mark.parametrize("text", ["", "ab", "A" * 64, "g" * 64, "a" * 63, "a" * 65, "a" * 64 + "\n"])
def test_a_digest_that_is_not_64_lower_case_hex_digits_is_refused(text: str) -> None:
    refused_when(StatementReason.FORM, "$.predicate.previous", lambda d: d["predicate"].update(previous=text))


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-01T12:00:00Z",
        "2026-03-01T12:00:00.0Z",
        "2026-03-01T12:00:00.000000Z",
        "2026-03-01T12:00:00.000+00:00",
        "2026-03-01t12:00:00.000z",
        "2026-03-01 12:00:00.000Z",
        "2026-02-30T12:00:00.000Z",
        "2026-03-01T24:00:00.000Z",
        "2026-12-31T23:59:60.000Z",
        "0000-01-01T00:00:00.000Z",
    ],
)
def test_a_time_that_is_not_utc_with_milliseconds_is_refused(text: str) -> None:
    refused_when(StatementReason.FORM, "$.predicate.asOf", lambda d: d["predicate"].update(asOf=text))


def test_a_time_before_1970_is_refused() -> None:
    refused_when(
        StatementReason.RANGE,
        "$.predicate.asOf",
        lambda d: d["predicate"].update(asOf="1969-12-31T23:59:59.999Z"),
    )


@pytest.mark.parametrize("text", ["", "tab\t", "line\n", "\x7f", "x" * (MAX_TEXT_BYTES + 1), "ö" * 128])
def test_a_name_that_is_empty_or_too_long_or_not_printable_is_refused(text: str) -> None:
    refused_when(StatementReason.FORM, "$.predicate.issuer", lambda d: d["predicate"].update(issuer=text))


def test_another_statement_type_is_refused() -> None:
    refused_when(
        StatementReason.TYPE, "$._type", lambda d: d.update(_type="https://in-toto.io/Statement/v0.1")
    )
    refused_when(
        StatementReason.TYPE,
        "$.predicateType",
        lambda d: d.update(predicateType="https://slsa.dev/provenance/v1"),
    )


# --- limits, at n and n + 1 ----------------------------------------------------------------------------


def reads_back(statement: Statement) -> None:
    assert parse(VerifiedPayload(build(statement))) == statement


def test_numbers_reach_their_limits_and_not_beyond() -> None:
    statement = after_a_default()
    largest = Totals(debits_minor=MAX_TOTAL_MINOR, credits_minor=MAX_TOTAL_MINOR)
    beyond = Totals(debits_minor=MAX_TOTAL_MINOR + 1, credits_minor=MAX_TOTAL_MINOR + 1)
    reads_back(replace(statement, trial_balance={"USDC": largest}))
    refused_build(StatementReason.RANGE, replace(statement, trial_balance={"USDC": beyond}))
    reads_back(replace(statement, calls=Calls(count=MAX_COUNT, amount_minor=0)))
    refused_build(StatementReason.RANGE, replace(statement, calls=Calls(count=MAX_COUNT + 1, amount_minor=0)))
    refused_build(StatementReason.RANGE, replace(statement, calls=Calls(count=0, amount_minor=-1)))
    refused_build(StatementReason.RANGE, replace(statement, sequence=0))


def test_only_the_margin_held_may_be_negative() -> None:
    resources = after_a_default().resources
    for name in (field for field in Resources.__slots__ if field != "margin_held_minor"):
        negative = replace(resources, **{name: -1})
        refused_build(StatementReason.RANGE, replace(after_a_default(), resources=negative))


def test_lists_reach_their_limits_and_not_beyond() -> None:
    statement = after_a_default()
    gate, event = statement.gates[0], statement.waterfall[0]
    events = tuple(replace(event, default=f"d-{number}") for number in range(MAX_DEFAULTS + 1))
    units = {f"U{number}": Totals(debits_minor=1, credits_minor=1) for number in range(MAX_UNITS)}
    nothing = dict.fromkeys(units, 0)
    tiers = {f"t{number}": 1 for number in range(MAX_TIERS)}
    journal = replace(statement.journal, consistency=(bytes(32),) * MAX_PROOF_HASHES)
    full = replace(
        statement,
        gates=(gate,) * MAX_GATES,
        breakers=statement.breakers * MAX_BREAKERS,
        waterfall=events[:-1],
        trial_balance=units,
        journal=journal,
        liabilities=replace(statement.liabilities, totals_minor=nothing, receivables_minor=nothing),
    )
    reads_back(full)
    reads_back(replace(full, waterfall=(replace(event, draws_minor=tiers, loss_minor=MAX_TIERS),)))
    for beyond in (
        replace(full, gates=(gate,) * (MAX_GATES + 1)),
        replace(full, breakers=statement.breakers * (MAX_BREAKERS + 1)),
        replace(full, liabilities=replace(full.liabilities, totals_minor=nothing | {"more": 0})),
        replace(full, waterfall=events),
        replace(full, trial_balance=units | {"more": Totals(debits_minor=1, credits_minor=1)}),
        replace(full, journal=replace(journal, consistency=(bytes(32),) * (MAX_PROOF_HASHES + 1))),
        replace(full, waterfall=(replace(event, draws_minor=tiers | {"more": 1}),)),
    ):
        refused_build(StatementReason.LENGTH, beyond)


def test_an_empty_waterfall_and_another_number_of_subjects_are_refused() -> None:
    refused_when(
        StatementReason.LENGTH, "$.predicate.waterfall", lambda d: d["predicate"].update(waterfall=[])
    )
    refused_when(StatementReason.LENGTH, "$.subject", lambda d: d["subject"].clear())
    refused_when(StatementReason.LENGTH, "$.subject", lambda d: d["subject"].append(d["subject"][0]))


# --- agreement with itself -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "subject",
    [
        {"name": "house.example/journal@8"},
        {"name": "other.example/journal@7"},
        {"digest": {"sha256": "00" * 32}},
        {"digest": {"sha512": "00" * 32}},
        {"digest": {}},
    ],
)
def test_a_subject_that_is_not_the_checkpoint_is_refused(subject: dict[str, object]) -> None:
    refused_when(StatementReason.SUBJECT, "$.subject", lambda d: d["subject"][0].update(subject))


def test_debits_that_differ_from_credits_are_refused_by_unit() -> None:
    refused_when(
        StatementReason.UNBALANCED,
        "$.predicate.trialBalance.USDC",
        lambda d: d["predicate"]["trialBalance"]["USDC"].update(debits="1"),
    )


def test_a_journal_that_shrinks_is_refused() -> None:
    journal = after_a_default().journal
    refused_build(
        StatementReason.TREE_SHRINKS,
        replace(after_a_default(), journal=replace(journal, previous_tree_size=8)),
    )


def test_a_validity_that_ends_before_it_starts_is_refused() -> None:
    refused_build(StatementReason.TIMES, replace(after_a_default(), valid_until_ms=NOON_MS))


@pytest.mark.parametrize(
    "change",
    [{"sequence": 1}, {"previous": bytes(32)}, {"sequence": 1, "previous": bytes(32)}],
)
def test_only_the_first_attestation_starts_a_chain(change: dict[str, Any]) -> None:
    refused_build(StatementReason.CHAIN_START, replace(after_a_default(), **change))


@pytest.mark.parametrize("change", [{"sequence": 2}, {"previous": payload_digest(b"")}])
def test_the_first_attestation_names_no_predecessor(change: dict[str, Any]) -> None:
    refused_build(StatementReason.CHAIN_START, replace(quiet_first(), **change))


def test_a_proof_where_nothing_is_to_prove_is_refused() -> None:
    first, second = quiet_first(), after_a_default()
    proof = second.journal.consistency
    refused_build(StatementReason.PROOF, replace(first, journal=replace(first.journal, consistency=proof)))
    refused_build(
        StatementReason.PROOF, replace(second, journal=replace(second.journal, previous_tree_size=7))
    )


@pytest.mark.parametrize("change", [{"loss_minor": 79}, {"uncovered_minor": 1}, {"draws_minor": {"pool": 8}}])
def test_draws_that_do_not_sum_to_the_loss_are_refused(change: dict[str, Any]) -> None:
    event = replace(after_a_default().waterfall[0], **change)
    refused_build(StatementReason.DRAWS, replace(after_a_default(), waterfall=(event,)))


@pytest.mark.parametrize(("one", "two"), [(400, 399), (400, 801), (0, 1)])
def test_two_members_lose_no_less_than_one_and_no_more_than_twice_that(one: int, two: int) -> None:
    stress = replace(STRESS, cover1_minor=one, cover2_minor=two)
    refused_build(StatementReason.COVER, replace(after_a_default(), stress=stress))
    for bound in (400, 800):
        reads_back(replace(after_a_default(), stress=replace(STRESS, cover1_minor=400, cover2_minor=bound)))


def test_liabilities_are_of_the_same_units_and_no_more_than_the_trial_balance_has() -> None:
    statement = after_a_default()
    owed = statement.liabilities
    cases: list[tuple[dict[str, Any], StatementReason]] = [
        ({"receivables_minor": {"USDC": 300}}, StatementReason.UNITS),
        ({"totals_minor": {"BTC": 0, "USDC": 1_000_301}}, StatementReason.BEYOND_BALANCE),
        ({"totals_minor": {"BTC": 1, "USDC": 0}}, StatementReason.BEYOND_BALANCE),
        ({"receivables_minor": {"BTC": 0, "USDC": 1_000_301}}, StatementReason.BEYOND_BALANCE),
    ]
    for changes, reason in cases:
        refused_build(reason, replace(statement, liabilities=replace(owed, **changes)))


def test_one_default_named_twice_is_refused() -> None:
    statement = after_a_default()
    refused_build(StatementReason.DEFAULT_REPEATED, replace(statement, waterfall=statement.waterfall * 2))


# --- building ------------------------------------------------------------------------------------------


def test_a_statement_that_cannot_be_written_is_refused() -> None:
    statement = after_a_default()
    refused_build(
        StatementReason.FORM, replace(statement, journal=replace(statement.journal, root_hash=b"short"))
    )
    refused_build(StatementReason.FORM, replace(statement, valid_until_ms=10**18))
    refused_build(StatementReason.FORM, replace(statement, issuer="\ud800"))


def test_a_statement_that_would_read_back_as_another_is_refused() -> None:
    statement = after_a_default()
    lists: Any = list(statement.gates)
    refused_build(StatementReason.NOT_AS_BUILT, replace(statement, gates=lists))


@pytest.mark.parametrize("amount", [1.0, True, "1.5"])
def test_an_amount_that_is_no_integer_is_refused(amount: Any) -> None:
    refused_build(StatementReason.FORM, replace(after_a_default(), calls=Calls(count=0, amount_minor=amount)))
