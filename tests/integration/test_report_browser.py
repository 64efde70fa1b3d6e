"""Pages of reports in a browser: it complains of nothing, and charts are drawn."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from clearing.model.values import Form
from clearing.reports.drawing import ASKED, LOST, MISSED
from tests.readings import HEAD, reading
from tests.report_tables import all_kinds, losses, made, of_world, waterfall, without_figures
from tests.stories import a_long_life

pytestmark = pytest.mark.slow
MISSING = "NOT TESTED: pages of reports in a browser, because Chromium is missing (apt-get install chromium)"
WIDTH, HEIGHT, PHONE = 1280, 9_000, 500
"""Chromium makes no window that is narrower than a phone held upright."""
PLACES = """<script>
const found = [...document.querySelectorAll('svg')].map(one => one.getBoundingClientRect());
document.documentElement.setAttribute('data-places', JSON.stringify(
  [document.documentElement.scrollWidth, ...found.map(one => [one.left, one.top, one.right, one.bottom])]));
</script></body>"""


@pytest.fixture(scope="module")
def browser() -> str:
    """The test is skipped without it, which CI does not let pass."""
    found = shutil.which("chromium")
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    return found


def run(browser: str, page: Path, *asked: str, width: int = WIDTH) -> subprocess.CompletedProcess[str]:
    command = [
        *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
        *("--force-device-scale-factor=1", f"--window-size={width},{HEIGHT}", "--enable-logging=stderr"),
        *(f"--user-data-dir={page.parent / 'profile'}", *asked, page.as_uri()),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


def places(browser: str, page: Path, width: int = WIDTH) -> tuple[int, list[tuple[int, int, int, int]]]:
    """How broad the page is, and where its charts are. A script in a copy of it finds out, which the page forbids."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    copy = page.with_name("measured.html")
    copy.write_text(text.replace("</body>", PLACES), encoding="utf-8")
    dumped = run(browser, copy, "--dump-dom", width=width).stdout
    said = re.search(r'data-places="([^"]*)"', dumped)
    assert said is not None
    broad, *found = json.loads(said[1])
    return broad, [(round(a), round(b), round(c), round(d)) for a, b, c, d in found]


def shot(browser: str, page: Path, width: int = WIDTH) -> np.ndarray:
    """The page as it looks, once the browser has complained of nothing."""
    picture = page.with_suffix(".png")
    said = run(browser, page, f"--screenshot={picture}", width=width).stderr
    assert "CONSOLE" not in said, said
    return (imread(picture)[:, :, :3] * 255).round().astype(int)


def count(pixels: np.ndarray, colour: str) -> int:
    """How many pixels have a colour."""
    wanted = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return int((np.abs(pixels - wanted).max(axis=2) <= 2).sum())


def ink(pixels: np.ndarray) -> int:
    """How many pixels are not white."""
    return int((pixels.min(axis=2) < 250).sum())


def saved(folder: Path, data: bytes) -> Path:
    path = folder / "page.html"
    path.write_bytes(data)
    return path


def test_every_chart_is_drawn_and_the_browser_complains_of_nothing(browser: str, tmp_path: Path) -> None:
    page = saved(tmp_path, made(Form.HTML, tmp_path, all_kinds()))
    _, found = places(browser, page)
    assert len(found) == 5
    pixels = shot(browser, page)
    for left, top, right, bottom in found:
        assert right - left > 500
        assert bottom - top > 80
        part = pixels[top:bottom, left:right]
        assert ink(part) > 5_000
        assert count(part, ASKED) > 300
    for part_of, colours in ((found[3], (LOST, ASKED, MISSED)), (found[4], (LOST, ASKED, MISSED))):
        left, top, right, bottom = part_of
        assert all(count(pixels[top:bottom, left:right], colour) > 20 for colour in colours)


def test_a_chart_that_is_not_there_would_be_seen(browser: str, tmp_path: Path) -> None:
    text = made(Form.HTML, tmp_path, [waterfall()]).decode()
    emptied = re.sub(r"(<svg [^>]*>).*?(</svg>)", r"\1\2", text, flags=re.DOTALL)
    page = saved(tmp_path, emptied.encode())
    (place,) = places(browser, page)[1]
    left, top, right, bottom = place
    assert ink(shot(browser, page)[top:bottom, left:right]) == 0


def test_a_page_without_charts_is_not_empty(browser: str, tmp_path: Path) -> None:
    page = saved(tmp_path, made(Form.HTML, tmp_path, [without_figures()]))
    assert places(browser, page)[1] == []
    assert ink(shot(browser, page)) > 5_000


def test_a_page_fits_a_phone(browser: str, tmp_path: Path) -> None:
    page = saved(tmp_path, made(Form.HTML, tmp_path, all_kinds()))
    broad, found = places(browser, page, PHONE)
    assert broad <= PHONE, "tables and charts scroll by themselves"
    assert len(found) == 5


@pytest.mark.parametrize("report", ["trial-balance", "statement", "default", "margin"])
def test_reports_of_a_long_life_are_shown(browser: str, tmp_path: Path, report: str) -> None:
    path = "members/dex/accounts/alice/cash"
    world = a_long_life()
    read_from = reading(world, ledger_account=path, unit="USDC") if report == "statement" else reading(world)
    head, tables = of_world(report, read_from)
    page = saved(tmp_path, made(Form.HTML, tmp_path, tables, head))
    pixels = shot(browser, page)
    assert ink(pixels) > 20_000
    for left, top, right, bottom in places(browser, page)[1]:
        if bottom < HEIGHT:
            assert ink(pixels[top:bottom, left:right]) > 1_500


def test_a_page_is_printed(browser: str, tmp_path: Path) -> None:
    page = saved(tmp_path, made(Form.HTML, tmp_path, [losses()], HEAD))
    said = run(browser, page, f"--print-to-pdf={tmp_path / 'page.pdf'}", "--no-pdf-header-footer").stderr
    assert "CONSOLE" not in said, said
    data = (tmp_path / "page.pdf").read_bytes()
    assert data.startswith(b"%PDF")
    pages = [int(number) for number in re.findall(rb"/Type /Pages\n/Count ([0-9]+)", data)]
    assert max(pages, default=0) > 3, "250 rows need more than three pages of A4"
