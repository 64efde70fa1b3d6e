"""Health as a fact: what makes the house unfit to serve, and that nothing else does."""

from typing import Any

import pytest

from clearing.health import BEATS_MAX, Facts, Unfit, unfit
from clearing.pulse import Pulse
from ledger.store.connect import OutcomeUnknown, StoreUnreachable
from ledger.store.writer import LAG_MAX_MS, ClockWentBack, Overloaded, StoreUnavailable


def test_a_house_of_which_nothing_bad_is_known_serves() -> None:
    assert unfit(Facts()) == {}


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (Facts(stopped="a law of the book"), Unfit.STOPPED),
        (Facts(fault="the disk is full"), Unfit.STORE),
        (Facts(schema="another"), Unfit.SCHEMA),
        (Facts(journal_ms=11, now_ms=10), Unfit.CLOCK),
        (Facts(unshown="no new entry"), Unfit.UNSHOWN),
        (Facts(failed_beats=BEATS_MAX + 1, failure="no disk"), Unfit.BEAT),
        (Facts(history="a row is missing"), Unfit.HISTORY),
        (Facts(lag_ms=LAG_MAX_MS + 1), Unfit.HISTORY),
    ],
)
def test_each_reason_alone_makes_it_unfit_and_says_more(facts: Facts, reason: Unfit) -> None:
    found = unfit(facts)
    assert list(found) == [reason]
    assert found[reason]


@pytest.mark.parametrize(
    "facts",
    [
        Facts(journal_ms=10, now_ms=10),
        Facts(failed_beats=BEATS_MAX, failure="no disk"),
        Facts(lag_ms=LAG_MAX_MS),
    ],
)
def test_at_the_limit_it_still_serves(facts: Facts) -> None:
    assert unfit(facts) == {}


def test_all_reasons_are_told_at_once() -> None:
    facts = Facts(
        stopped="s",
        fault="f",
        schema="s",
        journal_ms=1,
        unshown="u",
        failed_beats=9,
        failure="x",
        lag_ms=9_999,
    )
    assert set(unfit(facts)) == set(Unfit)


class Lines:
    """What was logged."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def warning(self, event: str, **_: Any) -> None:
        self.events.append(event)

    error = warning


class Spoken:
    """What health was told."""

    def __init__(self) -> None:
        self.said: list[bool] = []

    def __call__(self, *, serving: bool) -> None:
        self.said.append(serving)


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Lines:
    found = Lines()
    monkeypatch.setattr("structlog.get_logger", lambda: found)
    return found


def test_health_and_the_log_are_told_each_change_once(lines: Lines) -> None:
    say = Spoken()
    pulse = Pulse(lambda: None, say)
    behind = [Facts(journal_ms=n, now_ms=0) for n in (0, 5, 4, 3, 0, 0, 1)]
    for facts in behind:
        pulse.judge(lambda facts=facts: facts)  # type: ignore[misc]
    assert say.said == [True, False, True, False]
    assert lines.events == ["not serving", "serving again", "not serving"]


def test_health_of_a_house_that_starts_unfit_is_told_and_logged(lines: Lines) -> None:
    say = Spoken()
    Pulse(lambda: None, say).judge(lambda: Facts(fault="full"))
    assert (say.said, lines.events) == ([False], ["not serving"])


def test_another_reason_is_logged_though_health_stays_the_same(lines: Lines) -> None:
    say = Spoken()
    pulse = Pulse(lambda: None, say)
    pulse.judge(lambda: Facts(fault="full"))
    pulse.judge(lambda: Facts(fault="full", journal_ms=1))
    assert (say.said, lines.events) == ([False], ["not serving"] * 2)


@pytest.mark.parametrize(
    "error", [StoreUnavailable, StoreUnreachable, OutcomeUnknown, ClockWentBack, Overloaded]
)
def test_beats_that_fail_one_after_the_other_make_it_unfit_and_one_that_works_makes_it_fit(
    lines: Lines, error: type[Exception]
) -> None:
    say, fails = Spoken(), [True]

    def beat_once() -> None:
        if fails[0]:
            raise error("no disk")

    pulse = Pulse(beat_once, say)
    for _ in range(BEATS_MAX + 1):
        pulse.beat()
        pulse.judge(Facts)
    assert say.said == [True, False]
    fails[0] = False
    pulse.beat()
    pulse.judge(Facts)
    assert say.said[-1]
    assert lines.events == ["beat skipped", "not serving", "serving again"]


def test_a_beat_that_meets_a_bug_is_not_skipped() -> None:
    def beat_once() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        Pulse(beat_once, Spoken()).beat()
