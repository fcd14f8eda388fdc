"""Bar charts of a grid of figures, as SVG that is the same bytes for the same figures."""

import statistics
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from report import Grid, number

PAPER, INK, FAINT = "#ffffff", "#1f2328", "#d1d9e0"
"""Opaque: so it reads on a dark page too."""
COLOURS = {"unaudited": "#8c959f", "floor": "#c4ccd4", "pgtrail": "#0a69da"}
OTHER_COLOURS = ("#d4862b", "#e8b878", "#5a8f69", "#9a6fb0", "#b35959", "#6b7f2a")
STYLE = {
    "svg.hashsalt": "pgtrail",
    # Text as text: a third of the size, and it can be searched and read out.
    "svg.fonttype": "none",
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans", "Helvetica", "Arial"],
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "xtick.color": INK,
    "ytick.color": INK,
}
WIDTH, BAR, MARGIN = 7.4, 0.19, 0.95
"""Inches: of the chart, of a bar's height, of what is above and below a panel's bars."""


def draw(figures: Grid, path: Path, title: str, base: str | None, labels: dict[str, str]) -> None:
    """Draw a chart: works of one unit share an axis, and each work is a group of bars, one a variant.

    :param base: the variant that the others are shown in ratio to, itself a line at 1.
    :param labels: what stands for a work's name.
    """
    variants = [variant for variant in figures.variants if variant != base]
    panels = _panels(figures, base)
    heights = [len(works) * (len(variants) + 1) * BAR + 0.3 for works in panels.values()]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, sum(heights) + MARGIN), layout="constrained", facecolor=PAPER)
        axes = figure.subplots(len(panels), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
        for panel, (unit, works) in zip(axes, panels.items(), strict=True):
            _draw_panel(panel, figures, works, variants, base, labels)
            panel.set_xlabel(unit, fontsize=8)
        figure.suptitle(title, fontsize=11, fontweight="bold")
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    _without_trailing_spaces(path)


def _panels(figures: Grid, base: str | None) -> dict[str, list[str]]:
    """The works that share an axis, by what stands below it."""
    panels: dict[str, list[str]] = {}
    for work, unit in figures.works.items():
        better = "more is better" if unit.endswith("/s") else "less is better"
        panels.setdefault(f"{unit if base is None else f'{unit}, {base} = 1'} ({better})", []).append(work)
    return panels


def _draw_panel(
    axes: Axes, figures: Grid, works: list[str], variants: list[str], base: str | None, labels: dict[str, str]
) -> None:
    colours = _colours(figures.variants)
    group = len(variants) + 1
    longest = 0.0
    for row, variant in enumerate(variants):
        for column, work in enumerate(works):
            spread = _spread(figures, work, variant, base)
            if spread is None:
                continue
            low, middle, high = spread
            longest = max(longest, high)
            at = column * group + row
            label = variant if column == 0 else "_"
            axes.barh(at, middle, 0.86, color=colours[variant], label=label)
            axes.plot([low, high], [at, at], color=INK, linewidth=0.8)
            axes.annotate(number(middle), (high, at), (3, 0), textcoords="offset points", va="center", fontsize=7)
    if base is not None:
        axes.axvline(1, color=COLOURS.get(base, INK), linewidth=1)
    _dress(axes, longest)
    middles = [column * group + (len(variants) - 1) / 2 for column in range(len(works))]
    axes.set_yticks(middles, [labels.get(work, work) for work in works])


def _dress(axes: Axes, longest: float) -> None:
    """Little but the bars; room at the right for the longest one's number."""
    axes.set_facecolor(PAPER)
    axes.invert_yaxis()
    axes.set_xlim(0, longest * 1.1 or 1)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axes.tick_params(axis="x", labelsize=7, length=0)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.grid(True, color=FAINT, linewidth=0.5)
    axes.set_axisbelow(True)
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)


def _spread(figures: Grid, work: str, variant: str, base: str | None) -> tuple[float, float, float] | None:
    """Lowest, median and highest over the rounds; of a ratio, round by round."""
    values = figures.values.get((work, variant))
    if not values:
        return None
    if base is not None:
        if figures.ratio(work, variant, base) is None:
            return None
        values = [a / b for a, b in zip(values, figures.values[work, base], strict=True)]
    return min(values), statistics.median(values), max(values)


def _colours(variants: tuple[str, ...]) -> dict[str, str]:
    others = [variant for variant in variants if variant not in COLOURS]
    given = {variant: OTHER_COLOURS[number % len(OTHER_COLOURS)] for number, variant in enumerate(others)}
    return COLOURS | given


def _without_trailing_spaces(path: Path) -> None:
    path.write_text("".join(f"{line.rstrip()}\n" for line in path.read_text().splitlines()))
