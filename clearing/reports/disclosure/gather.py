"""What the quantitative disclosure is computed from, gathered in two passes over the journal: one over the entries, one
over the states in which days ended.

1. The quarter is that of the calendar, in UTC, in which the last entry stands, up to that entry; the 12 months end
   with the same entry, and begin a year before at midnight. The house clears on every day: each UTC day counts.
2. A day ends with its last closed cycle; what it ends with is measured there. A day without one has no end.
3. What the house states after a day is its last attestation of that day.
4. A day's back-test holds the positions with which a day ended against the prices with which the next one ended, as
   if nobody had touched them. A position without a price there leaves its set out.
"""

from clearing.model.kinds import Kind
from clearing.reports.disclosure.done import Done, stated_of
from clearing.reports.disclosure.ends import Ends
from clearing.reports.disclosure.quarter import (
    DECLARING,
    FEWEST_MEMBERS,
    Quarter,
    members_of,
)
from clearing.reports.reading import Reading


def gathered(reading: Reading) -> Quarter:
    """Read the journal. The house was founded."""
    house = reading.house
    done = Done(house)
    for recorded in reading.entries():
        done.add(recorded)
    quarter, year = done.spans()
    ends = Ends(year, with_shares=len(members_of(house)) >= FEWEST_MEMBERS)
    for recorded, state in reading.states(Kind.CYCLE_CLOSED, *DECLARING):
        ends.add(recorded, state)
    return Quarter(
        house=house,
        quarter=quarter,
        year=year,
        founded_ms=done.founded_ms,
        flows=tuple(flow for flow in done.flows if year.holds(flow.day)),
        ends=tuple(ends.all()),
        shaken=tuple(ends.shaken),
        stated=tuple(stated_of(flow for flow in done.flows if year.holds(flow.day))),
        stops=tuple(done.stopped(year)),
        charters=tuple(done.charters),
        failed={default: tuple(members) for default, members in done.failed.items()},
        declared=ends.declared,
    )
