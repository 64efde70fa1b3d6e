"""CCPAvailableFinancialResourcesReport, auth.064.001.01: what can absorb the loss of a failed member (§11, §14).

Rules kept here (of the shape: ``iso20022.py``): the figures are those of an attestation of the same state. The house's
first tranche is used before the members' pool; the insurance fund, which is neither a member's nor the house's capital
at risk, is another prefunded contribution; the second tranche is used after the pool.
"""

from collections.abc import Iterator

from clearing import chart
from clearing.attest.figures import stated_resources
from clearing.default.exits import survivors_at
from clearing.margin.assess import measured_sets
from clearing.model.house import House
from clearing.model.kinds import Kind
from clearing.reports import figures, sources
from clearing.reports.document import Row, Table
from clearing.reports.facts import CHARTER_KINDS, newest
from clearing.reports.iso20022 import Missing, amount, block, element, id_of, not_computed
from clearing.reports.reading import Reading
from ledger.account import Account

ROOT = "CCPAvlblFinRsrcsRpt"
BLOCK = "AvlblFinRsrcsAmt"
AMOUNTS = ("TtlInitlMrgn", "TtlPrfnddDfltFnd", "OthrDfltFndCntrbtn", "UfnddMmbCmmtmnt")
ASSET_TYPE = "CASH"
"""ProductType6Code of the settlement asset: the house's own funds are in nothing else."""


def build(reading: Reading) -> Iterator[Table]:
    """The size of the resources, the house's own money at risk, and what this system does not know."""
    house = reading.house
    columns = tuple(amount(house, path) for path in AMOUNTS)
    yield block(ROOT, BLOCK, columns, _sizes(reading, house), note="Of all resources of the house together.")
    own = (element("RptgAsstTp"), element("Id"), amount(house, "Amt"))
    skin = chart.skin_in_the_game(house.settlement)
    yield block(ROOT, f"{BLOCK}/CCPSkinInTheGame", own, [_own(house, skin)])
    yield block(ROOT, "OthrPrfnddRsrcs", own, [_own(house, chart.second_tranche(house.settlement))])
    yield not_computed(
        ROOT,
        (
            Missing(
                f"{BLOCK}/UfnddThrdPtyCmmtmnt", "what third parties, such as insurers, have committed to pay"
            ),
        ),
    )


def _own(house: House, account: Account) -> Row:
    cells = (ASSET_TYPE, house.settlement, figures.money(house, house.balance(account)))
    return Row(account.path, cells, sources.account(account.path, account.unit))


def _sizes(reading: Reading, house: House) -> Iterator[Row]:
    if house.cycle is None:
        return
    found = stated_resources(house, measured_sets(house))
    amounts = (
        found.margin_required_minor,
        found.pool_held_minor,
        found.insurance_fund_minor,
        found.assessments_available_minor,
    )
    cells = tuple(figures.money(house, one) for one in amounts)
    yield Row(house.founded.house, cells, sources.joined(*_terms(reading, house)))


def _terms(reading: Reading, house: House) -> Iterator[str]:
    """Where each amount comes from."""
    margin, pool, fund, unfunded = map(id_of, AMOUNTS)
    insurance, asset = chart.insurance_fund(house.settlement), house.settlement
    for one in house.newest_cycle.margined:
        yield sources.about(margin, sources.account(chart.pattern_of(chart.Line.POSITION), one.instrument))
    yield sources.about(margin, sources.entries(newest(reading, Kind.SNAPSHOT_ACCEPTED)))
    for member in survivors_at(house, house.newest_cycle.accepted_ms):
        yield sources.about(pool, sources.account(chart.pool(member, asset).path, asset))
    yield sources.about(fund, sources.account(insurance.path, insurance.unit))
    yield sources.about(unfunded, sources.kind(Kind.POOL_SIZED))
    yield sources.about(unfunded, sources.kind(Kind.WATERFALL))
    yield sources.about(unfunded, sources.entries(newest(reading, *CHARTER_KINDS)))
