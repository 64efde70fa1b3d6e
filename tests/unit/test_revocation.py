"""A certificate is revoked by one administrator, at once, and for ever."""

import pytest

from clearing.decide.administrators import REASON_CHARS_MAX
from clearing.model.commands import RevokeCertificate
from clearing.model.ids import SERIAL_PATTERN
from clearing.model.kinds import Kind
from clearing.model.outcomes import Reason
from clearing.model.values import Revocation
from tests.builders import ANNA, BERT, World, empty_house, kinds_of, two_traders
from tests.unit.test_wind_down import END, owing

LONGEST = "f" * 40
KEY = f"{ANNA}/0123456789abcdef"


def revoking(serial: str = "1f", reason: str = "a laptop was stolen") -> RevokeCertificate:
    return RevokeCertificate(serial=serial, reason=reason)


@pytest.mark.parametrize("serial", ["1", "1f", "a0", LONGEST])
def test_one_administrator_revokes_a_certificate_at_once(serial: str) -> None:
    world = two_traders()
    outcome = world.ok(revoking(serial), KEY)
    assert kinds_of(outcome) == [Kind.CERTIFICATE_REVOKED.name]
    assert world.state.revocations[serial] == Revocation(
        serial=serial, reason="a laptop was stolen", revoked_by=KEY, revoked_ms=world.now_ms
    )


def test_it_is_revoked_once() -> None:
    world = empty_house()
    world.ok(revoking(), ANNA)
    assert world.reason(revoking(reason="another reason"), BERT) == Reason.ALREADY_EXISTS.name
    world.ok(revoking("1e"), BERT)


@pytest.mark.parametrize(
    "serial", ["", "0", "01f", "1F", "0x1f", "1f\n", " 1f", "1:f", "g", f"{LONGEST}0", "\u0661"]
)
def test_a_serial_number_has_one_spelling(serial: str) -> None:
    assert empty_house().reason(revoking(serial), ANNA) == Reason.SERIAL_MALFORMED.name


def test_the_longest_serial_number_is_what_a_certificate_may_have() -> None:
    assert SERIAL_PATTERN.fullmatch(f"{2**160 - 1:x}")
    assert not SERIAL_PATTERN.fullmatch(f"{2**160:x}")


@pytest.mark.parametrize("actor", ["test", "member/dex", "administrator/", "regulator/rita"])
def test_only_an_administrator_revokes(actor: str) -> None:
    assert empty_house().reason(revoking(), actor) == Reason.NOT_AN_ADMINISTRATOR.name


@pytest.mark.parametrize("reason", ["", " ", "a\nb", "x" * (REASON_CHARS_MAX + 1)])
def test_it_says_why(reason: str) -> None:
    assert empty_house().reason(revoking(reason=reason), ANNA) == Reason.REASON_MALFORMED.name


def test_a_house_that_was_wound_down_still_revokes() -> None:
    world: World = owing(two_traders(), 1)
    world.ok(END)
    world.ok(revoking(), ANNA)
