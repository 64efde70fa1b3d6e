"""A report as a page: all that is in it, nothing from elsewhere, the same bytes each time."""

import os
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from clearing.model.values import Form
from clearing.reports import sources
from clearing.reports.charts import picture
from clearing.reports.document import Chart, Column, Drawing, Measure, Row, Table
from clearing.reports.page import ROWS_MAX
from clearing.reports.points import BARS_MAX, POINTS_MAX, STEPS_MAX, Gathered, is_exception
from tests.readings import HEAD, reading
from tests.report_tables import (
    HOSTILE,
    LONG_DIGITS,
    all_kinds,
    amounts,
    losses,
    made,
    of_world,
    waterfall,
    without_figures,
    written,
)
from tests.stories import a_long_life

pytestmark = pytest.mark.slow

VOID = {"meta", "br", "img", "link", "input", "hr"}
ROOT = Path(__file__).parents[2]


class Read(HTMLParser):
    """What a browser finds: the tags with their attributes, the cells of the tables, all text."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.rows: list[list[str]] = []
        self.outside: list[list[str]] = []
        self.text = ""
        self._open: list[str] = []
        self._said: list[str] | None = None
        self.feed(data.decode())
        assert self._open == [], "every tag is closed"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        said = {key: value or "" for key, value in attributes}
        self.tags.append((tag, said))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
            if said.get("class") == "outside":
                self.outside.append(self.rows[-1])
        if tag in {"td", "th"}:
            self._said = []

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attributes}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag in {"td", "th"} and self._said is not None:
            self.rows[-1].append("".join(self._said))
            self._said = None

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._said is not None:
            self._said.append(data)


def page(folder: Path, tables: Iterable[Table] | None = None) -> Read:
    return Read(made(Form.HTML, folder, all_kinds() if tables is None else tables))


def test_the_page_says_of_what_it_speaks_and_how_to_check_it(tmp_path: Path) -> None:
    head = replace(HEAD, title="Margin", house="house-7", as_of=1234567, members=("alpha", "beta"))
    path, sha256 = written(tmp_path / "one.json", all_kinds(), head)
    found = Read(made(Form.HTML, tmp_path, all_kinds(), head))
    assert path.exists()
    for key, text in head.lines().items():
        if text and key != "version":
            assert text in found.text, key
    assert sha256 in found.text
    assert "clearctl report verify FILE" in found.text
    assert "alpha beta" in found.text


def test_the_contents_lead_to_each_table(tmp_path: Path) -> None:
    found = page(tmp_path)
    ids = [said["id"] for _, said in found.tags if "id" in said]
    assert len(set(ids)) == len(ids), "an id stands once, also in charts"
    links = [said["href"] for tag, said in found.tags if tag == "a"]
    assert [f"#table-{one.id}" for one in all_kinds()] == links[:5]
    assert {link.removeprefix("#") for link in links} <= set(ids)


def test_each_cell_has_the_text_of_the_report_to_the_letter(tmp_path: Path) -> None:
    found = page(tmp_path)
    for table in all_kinds():
        for row in table.rows:
            shown = next(cells for cells in found.rows if cells[0] == row.field)
            assert shown[1:-1] == [cell or "—" for cell in row.cells]
            assert shown[-1].removeprefix("not computed by this system") == row.source.replace("; ", "")
    assert any(LONG_DIGITS in cells for cells in found.rows)


def test_digits_are_grouped_without_a_sign_between_them(tmp_path: Path) -> None:
    text = made(Form.HTML, tmp_path, [waterfall()]).decode()
    assert ">12<i>500</i><i>000</i>.00</td>" in text
    assert ">149<i>999</i>.25</td>" in text


def test_what_this_system_does_not_compute_is_greyed_and_says_so(tmp_path: Path) -> None:
    found = page(tmp_path)
    assert [cells[0] for cells in found.outside] == ["4.1.9", "one"], "a whole row"
    assert all("not computed by this system" in cells[-1] for cells in found.outside)
    titles = [said["title"] for tag, said in found.tags if tag == "td" and "title" in said]
    assert titles == ["not computed by this system: accounts of the operator"], "one cell of a row"


def test_nothing_that_a_member_wrote_becomes_a_tag(tmp_path: Path) -> None:
    head = replace(HEAD, house=HOSTILE[0], title=HOSTILE[5], given={"x": HOSTILE[7]})
    columns = (Column("name", HOSTILE[0], unit=HOSTILE[5]), Column("value", "V", Measure.AMOUNT))
    rows = [
        Row(f"{text} {n}", (text, "1"), sources.outside(text.split("\n")[0]))
        for n, text in enumerate(HOSTILE)
    ]
    chart = Chart(Drawing.BARS, HOSTILE[5], "name", ("value",))
    table = Table(id="one", title=HOSTILE[0], columns=columns, rows=rows, note=HOSTILE[7], charts=(chart,))
    found = Read(made(Form.HTML, tmp_path, [table], head))
    known = {name for name, _ in found.tags}
    assert not known & {"script", "img", "b", "iframe", "object", "link", "base", "form"}
    assert not [said for _, said in found.tags if any(key.startswith("on") for key in said)]
    assert "49" not in "".join(cells[1] for cells in found.rows), "no template is run"


def test_the_page_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    found = page(tmp_path)
    for tag, said in found.tags:
        for key, value in said.items():
            if key in {"src", "href", "xlink:href", "srcset", "data", "action"}:
                assert value.startswith("#"), (tag, key, value)
    style = " ".join(
        re.findall(r"<style.*?</style>", made(Form.HTML, tmp_path, all_kinds()).decode(), re.DOTALL)
    )
    assert "@import" not in style
    assert "url(" not in style
    policy = next(said["content"] for _, said in found.tags if said.get("http-equiv"))
    assert policy.startswith("default-src 'none'"), "a browser would refuse it too"


def test_a_long_table_shows_its_first_rows_and_says_so(tmp_path: Path) -> None:
    for count in (ROWS_MAX, ROWS_MAX + 1):
        found = page(tmp_path, [amounts(count)])
        assert len(found.rows) == ROWS_MAX + 1
        assert ("The first 1,000 of 1,001 rows." in found.text) == (count > ROWS_MAX)


def test_a_table_without_rows_says_so(tmp_path: Path) -> None:
    found = page(tmp_path, [amounts(0)])
    assert "No rows." in found.text
    assert found.text.count("Nothing to draw") == 3


def test_charts_can_be_read_by_those_who_do_not_see_them(tmp_path: Path) -> None:
    charts = [said for tag, said in page(tmp_path).tags if tag == "svg"]
    assert len(charts) == 5
    assert all(one["role"] == "img" for one in charts)
    assert (
        charts[-1]["aria-label"] == "Margin against losses. 250 rows, 2 with a loss above what was required."
    )


def test_a_chart_without_figures_says_so_in_words(tmp_path: Path) -> None:
    found = page(tmp_path, [without_figures()])
    assert "Nothing to draw: no row has a figure for this chart." in found.text
    assert "svg" not in {tag for tag, _ in found.tags}


MAKE = """
import sys
from pathlib import Path
from clearing.model.values import Form
from tests.report_tables import all_kinds, made
sys.stdout.buffer.write(made(Form.HTML, Path(sys.argv[1]), all_kinds()))
"""


def test_the_same_report_gives_the_same_bytes_here_and_elsewhere(tmp_path: Path) -> None:
    first = made(Form.HTML, tmp_path, all_kinds())
    assert made(Form.HTML, tmp_path, all_kinds()) == first
    (tmp_path / "matplotlibrc").write_text("font.size: 20\nlines.linewidth: 9\n")
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(str(ROOT / one) for one in (".", "clients", "generated")),
        "PYTHONHASHSEED": "77",
        "TZ": "Asia/Tokyo",
        "HOME": str(tmp_path),
    }
    other = subprocess.run(
        [sys.executable, "-c", MAKE, str(tmp_path)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    assert other.stdout == first


@pytest.mark.parametrize("report", ["trial-balance", "positions", "margin", "default"])
def test_reports_of_a_long_life_are_pages(tmp_path: Path, report: str) -> None:
    head, tables = of_world(report, reading(a_long_life()))
    kept = [replace(table, rows=list(table.rows)) for table in tables]
    found = Read(made(Form.HTML, tmp_path, kept, head))
    assert sum(len(list(table.rows)) for table in kept) == sum(cells[0] != "Field" for cells in found.rows)
    assert sum(len(table.charts) for table in kept) == sum(tag == "figure" for tag, _ in found.tags)


# --- what charts draw ----------------------------------------------------------------------------------


def gathered(table: Table, number: int = 0) -> Gathered:
    found = Gathered(table.charts[number], table)
    for row in table.rows:
        found.add(row)
    return found


def series(values: Iterable[str], drawing: Drawing) -> Table:
    columns = (Column("day", "Day", Measure.COUNT), Column("value", "Value", Measure.AMOUNT))
    rows = (Row(f"r{n}", (str(n), value), sources.entries([n])) for n, value in enumerate(values))
    return Table(
        id="one", title="One", columns=columns, rows=rows, charts=(Chart(drawing, "C", "field", ("value",)),)
    )


def test_as_many_bars_as_fit_stand_as_they_come() -> None:
    points = gathered(series((str(n % 7) for n in range(BARS_MAX)), Drawing.BARS)).points()
    assert [point.label for point in points] == [f"r{n}" for n in range(BARS_MAX)]


def test_of_more_the_largest_stand_and_the_others_are_summed() -> None:
    values = [str((-1) ** n * n) for n in range(100)]
    points = gathered(series(values, Drawing.BARS)).points()
    assert [point.label for point in points[:3]] == ["r99", "r98", "r97"]
    assert len(points) == BARS_MAX + 1
    assert points[-1].label == "70 others"
    assert points[-1].values == (Decimal(sum(map(int, values[:70]))),)
    assert gathered(series(map(str, range(31)), Drawing.BARS)).points()[-1].label == "1 other"


def test_rows_without_a_figure_are_left_out() -> None:
    found = gathered(series(["1", "", "3"], Drawing.BARS))
    assert [point.label for point in found.points()] == ["r0", "r2"]
    assert found.count == 2


@pytest.mark.parametrize("count", [1, 2, POINTS_MAX - 1, POINTS_MAX, POINTS_MAX + 1, 12_345])
def test_a_line_is_thinned_and_keeps_its_extremes_and_its_ends(count: int) -> None:
    values = [str(n * 7919 % 10_007) for n in range(count)]
    if count > 10_000:
        values[3_333], values[9_999] = "-99999", "99999"
    points = gathered(series(values, Drawing.LINES)).points()
    assert len(points) <= POINTS_MAX
    assert count > POINTS_MAX - 2 or len(points) == count
    places = [int(point.label.removeprefix("r")) for point in points]
    assert all(one < other for one, other in pairwise(places))
    assert (places[0], places[-1]) == (0, count - 1)
    kept = [int(point.value(0)) for point in points]
    assert (min(kept), max(kept)) == (min(map(int, values)), max(map(int, values)))
    assert kept == [int(values[place]) for place in places]


def test_losses_keep_the_worst_exception_and_count_all() -> None:
    found = gathered(losses(9_000))
    assert found.exceptions == 2
    assert sum(map(is_exception, found.points())) == 2
    assert len(found.points()) <= POINTS_MAX


def test_a_waterfall_has_its_loss_its_parts_and_its_end() -> None:
    found = gathered(waterfall())
    amounts_of = [point.value(0) for point in found.points()]
    assert len(amounts_of) == 6, "a tier without a figure is left out"
    assert amounts_of[0] - sum(amounts_of[1:-1]) == amounts_of[-1]
    svg = picture(found, "x").svg
    assert "149\u202f999.25" in svg
    assert "Covered by nobody" in svg


def test_a_long_waterfall_keeps_its_sum() -> None:
    values = ["1000", *["1"] * 500, "500"]
    points = gathered(series(values, Drawing.WATERFALL)).points()
    assert len(points) == STEPS_MAX + 1
    assert points[-2].label == "462 others"
    assert points[-1].values == (Decimal(500),)
    assert points[0].value(0) - sum(point.value(0) for point in points[1:-1]) == Decimal(500)


def test_a_chart_of_the_table_is_drawn_of_all_its_rows(tmp_path: Path) -> None:
    found = page(tmp_path, [series(map(str, range(5_000)), Drawing.BARS)])
    assert "The 30 largest of 5,000 rows; the last bar is the sum of the others." in found.text
    assert "r4999" in found.text
