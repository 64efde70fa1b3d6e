"""What all charts have in common: colours, style, and how one becomes SVG that may stand in a page with others.

The same figures give the same bytes: nothing in them says when they were drawn, and no settings of the machine count.
"""

import hashlib
import io
import re
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

ASKED, LOST, MISSED, CALM = "#1f5fa8", "#8a8f98", "#c8342b", "#b7c9de"
SERIES = (ASKED, "#d98a2b", "#4a9a62", "#8b5fb0", "#7a7f87", "#b3477d", "#29a3a3", "#8a5a3c")
STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "font.family": "sans-serif",
    "font.size": 9,
    "grid.color": "#e4e6ea",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "clearing",
    "text.parse_math": False,
}
# For the whole process and for good: a style that comes and goes would reach into a chart that another thread draws.
mpl.rcdefaults()
mpl.rcParams.update(STYLE)

_NOTHING_SAID = dict.fromkeys(("Creator", "Date", "Format", "Type"))
_TAG = re.compile(r"<[a-z][^>]*>")
_NAMED = re.compile(r'(\bid="|href="#|url\(#)')


def sized(height: float, width: float = 9.5) -> tuple[Figure, Axes]:
    """An empty chart, in inches."""
    figure = Figure(figsize=(width, height))
    return figure, figure.add_subplot()


def drawn(figure: Figure, name: str = "") -> str:
    """The chart as SVG. What it gives ids to has others in each chart; ``name`` tells charts that look alike apart."""
    file = io.StringIO()
    figure.savefig(file, format="svg", bbox_inches="tight", metadata=_NOTHING_SAID)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    own = "c" + hashlib.sha256(f"{name} {text}".encode()).hexdigest()[:10]
    return _TAG.sub(lambda tag: _NAMED.sub(rf"\g<1>{own}-", tag[0]), text)
