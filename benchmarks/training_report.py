"""docs/results.md: every table of both papers beside our scores, and which of their orders our seeds support."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from scipy.stats import false_discovery_control
from training_papers import PAPERS, SUPPOSITIONS, PaperTable
from training_runs import ROOT, Settings, read_records, results_file
from training_scores import At, Scores, end, two_thirds
from training_tables import ALL_TABLES

from mmmtl._output import counted
from mmmtl.evaluation.metric_files import arrow
from mmmtl.evaluation.statistics import Difference, Verdict, judge, paired_difference, spread
from mmmtl.io import write_text
from mmmtl.visualization.curves import Curve, draw_panels

DOCS = ROOT / 'docs'
WHOLE = ('video-tiny', 'image-tiny')
"""Tables that the report has as a whole even without a score; of others only rows and orders that have one."""

Values = Callable[[str, str, At], dict[int, float]]
"""Returns {seed: value} of a row and a metric, at a chosen validation."""

VERDICTS: tuple[Verdict, ...] = ('held', 'not held', 'undecided')

LEAST_SEEDS = 3
"""Seeds below which nothing is decided."""

HEAD = """# Results

This page shows which orders of methods in the papers' tables hold at laptop scale. An order compares two rows by one
metric: "MILA before MTAN" says that MILA has the better score in the paper. A supposition is an order that we predict
ourselves, and that may explain those of the papers. This page is written by `python benchmarks/training.py report` from
the files in `benchmarks/results/`; [benchmarks/README.md](../benchmarks/README.md) says how to add runs.

- Networks and images are tiny here, so compare orders, not values.
- All runs of one name, such as `video-tiny`, have the same recipe. Runs with the same seed see the same frames in the
  same order, and start with the same weights wherever parts have the same name and shape; flips, and the earlier
  frames of a clip, may differ between rows. What is scored is a running average of the weights over some 300
  iterations.
- Scores are means over the seeds, with the standard deviation between them. Scores of clips are means over all offsets
  from the key frame.
- A difference is the mean over pairs of runs that share a seed, with its 95 % interval by Student's t. All seeds have
  the same training and validation data: an interval says what other seeds would give, not other data.
- **Held**: the interval lies on the paper's side of zero after two thirds of the training and at its end. **Not held**:
  it lies on the other side both times. **Undecided**: anything else, and every order with fewer than {least}
  seeds. This is strict: after two thirds the learning rate is still high, and some orders show only at the end.
- If two rows do not truly differ, their order is decided by chance in up to one case in twenty, half of them in the
  paper's favour, and there are many orders here. Therefore what is decided also has its q by Benjamini and Hochberg,
  among all orders with at least {least} seeds: of the orders with q up to 0.1, at most about a tenth is expected to be
  chance.
- The page is written anew after every run, so verdicts on fewer seeds than planned (five for video, three for images)
  are provisional. So are the recipes: they were chosen after runs with earlier ones, which are not shown.
- GMAC are our own counts of a frame, for video the average over the key-frame interval.
"""


def read_scores() -> list[Scores]:
    """Return the scores of all tables with their own settings."""
    return [Scores(Settings(table, table.iterations), read_records(results_file(table))) for table in ALL_TABLES]


def report(found: Sequence[Scores]) -> str:
    """Return the text of docs/results.md."""
    sections = []
    counts = head_of('table', 'orders', *VERDICTS)
    judged: list[tuple[str, Order]] = []
    for scores in found:
        table = scores.settings.table
        whole = table.name in WHOLE
        if not scores.found and not whole:
            continue
        lines = [f'## {table.paper} on `{table.name}`', '', *heading(scores)]
        parts = {
            f'{paper.paper} {paper.number}': paper_section(paper, scores)
            for paper in PAPERS[table.paper]
            if whole or sum(bool(scores.seeds(paper, row)) for row in paper.values) > 1
        }
        parts['suppositions'] = suppositions_section(scores)
        for part, (text, orders) in parts.items():
            lines += ['', *text] if text else []
            name = f'{part}, `{table.name}`'
            if orders:
                verdicts = Counter(order.verdict for order in orders)
                counts.append(row_of(name, str(len(orders)), *(str(verdicts[verdict]) for verdict in VERDICTS)))
            judged += [(name, order) for order in orders if order.pairs >= LEAST_SEEDS]
        lines += [line for figure in figures(scores) for line in figure.lines]
        sections.append('\n'.join(lines))
    head = [HEAD.format(least=LEAST_SEEDS), *counts]
    if decided := list(decided_rows(judged)):
        head += ['', 'All that is decided, with the difference at the end of the training:', '']
        head += [*head_of('table', 'order', 'metric', 'at the end', 'q', 'verdict'), *decided]
    return '\n\n'.join(['\n'.join(head), *sections]) + '\n'


def decided_rows(judged: Sequence[tuple[str, Order]]) -> Iterator[str]:
    """Yield a row for each decided order, of all that were judged with enough seeds: (table, order)."""
    shares = false_discovery_control([order.p for _, order in judged]) if judged else []
    for (table, order), share in zip(judged, shares, strict=True):
        if order.verdict != 'undecided':
            _, last, verdict = order.cells
            yield row_of(table, order.name, title(order.metric), last, f'{share:.2g}', verdict)


def heading(scores: Scores) -> Iterator[str]:
    """Yield what the runs of a table have in common, and how many there are."""
    table = scores.settings.table
    yield f'{table.about[0].upper()}{table.about[1:]}. {scores.settings.iterations} iterations a run.'
    yield ''
    seeds = sorted({record['seed'] for records in scores.found.values() for record in records})
    count = sum(map(len, scores.found.values()))
    if not count:
        yield f'No runs yet: `make reproduce TABLE={table.name}`.'
    else:
        devices = sorted({record['device'] for records in scores.found.values() for record in records})
        listed = f'seed {seeds[0]}' if len(seeds) == 1 else f'seeds {", ".join(map(str, seeds))}'
        rows = f'{len(scores.found)} of {len(table.rows) + len(table.pretraining)} rows'
        yield f'Finished: {counted(count, "run")}, of {rows}, {listed}, on {", ".join(devices)}.'
    if scores.others:
        yield f'The file has {scores.others} more of other settings, which are left out.'


def paper_section(paper: PaperTable, scores: Scores) -> tuple[list[str], list[Order]]:
    """Return a paper's table with our scores beside it and the verdicts on its orders, and these orders."""
    whole = scores.settings.table.name in WHOLE
    lines = [f'### Table {paper.number}: {paper.title}', '']
    if paper.note:
        lines += [paper.note, '']
    if not paper.columns:
        return lines[:-1], []
    metrics = [cell for column in paper.columns for cell in (f'{title(column)}, paper', 'here')]
    lines += head_of('', *metrics, 'GMAC', 'parameters (M)', 'seeds')
    for name, printed in paper.values.items():
        seeds = len(scores.seeds(paper, name))
        cells = []
        for column, value in zip(paper.columns, printed, strict=True):
            ours = scores.values(paper, name, column, end)
            text = measured(list(ours.values()))
            fewer = f' ({counted(len(ours), "seed")})' if 0 < len(ours) < seeds else ''
            cells += ['' if value is None else f'{value:g}', text + fewer]
        gmac, parameters = scores.cost(paper, name)
        if not seeds and not whole:
            continue
        lines.append(row_of(name, *cells, gmac, parameters, str(seeds or '')))
    lines += ['', *head_of('order in the paper', 'metric', 'gap there', 'here, at 2/3', 'at the end', 'verdict')]
    orders = []
    for first, second in paper.orders:
        for column, a, b in zip(paper.columns, paper.values[first], paper.values[second], strict=True):
            if a is None or b is None or a == b:
                continue
            better, worse = (first, second) if (a > b) == higher(column) else (second, first)
            gap = abs(a - b) if higher(column) else -abs(a - b)
            order = decide((better, worse), column, partial(scores.values, paper))
            if not order.pairs and not whole:
                continue
            orders.append(order)
            lines.append(row_of(order.name, title(column), f'{gap:+.3g}', *order.cells))
    return lines, orders


def suppositions_section(scores: Scores) -> tuple[list[str], list[Order]]:
    """Return the orders that our suppositions predict, judged like a paper's; nothing before the first run of one."""
    orders = []
    lines = []
    for supposition in SUPPOSITIONS.get(scores.settings.table.name, ()):
        for pair in supposition.orders:
            for metric in supposition.metrics:
                order = decide(pair, metric, scores.of_row)
                if order.pairs:
                    orders.append(order)
                    lines.append(row_of(supposition.text, order.name, title(metric), *order.cells))
    if not lines:
        return [], []
    head = head_of('supposition', 'order that it predicts', 'metric', 'at 2/3', 'at the end', 'verdict')
    text = (
        'What may explain the orders above, as orders of our own, some of them chosen after the runs. `offset_0/` is '
        'on key frames alone, `non_key/` the mean over all other offsets.'
    )
    return ['### Suppositions', '', text, '', *head, *lines], orders


class Order(NamedTuple):
    """An order of two rows that is judged.

    Args:
        name: name of the order, such as 'MILA before MTAN'.
        metric: `<task>/<metric>` or `delta_m`.
        verdict: whether it holds.
        cells: cells of a table: the difference after two thirds of the training and at its end, and the verdict.
        pairs: number of pairs of runs behind it.
        p: the larger of the two differences' p, as both must exclude zero.
    """

    name: str
    metric: str
    verdict: Verdict
    cells: list[str]
    pairs: int
    p: float


def decide(rows: tuple[str, str], metric: str, values: Values) -> Order:
    """Judge whether the first of two rows is better, after two thirds of the training and at its end."""
    better, worse = rows
    gaps = [paired_difference(values(better, metric, at), values(worse, metric, at)) for at in (two_thirds, end)]
    last = gaps[-1]
    enough = last is not None and last.pairs >= LEAST_SEEDS
    verdict = judge(gaps, positive=higher(metric)) if enough else 'undecided'
    cells = [*map(interval, gaps), remark(verdict, last)]
    p = max((1.0 if gap is None else gap.p) for gap in gaps)
    return Order(f'{better} before {worse}', metric, verdict, cells, 0 if last is None else last.pairs, p)


def higher(column: str) -> bool:
    """Return whether higher is better."""
    return column == 'delta_m' or arrow(column) == ' ↑'


def title(column: str) -> str:
    """Return a metric with its direction."""
    return 'Δm ↑' if column == 'delta_m' else column + arrow(column)


def row_of(*cells: str) -> str:
    """Return a row of a Markdown table."""
    return f'| {" | ".join(cells)} |'


def head_of(*titles: str) -> list[str]:
    """Return the lines that begin a Markdown table with the titles of its columns."""
    return [row_of(*titles), row_of(*['---'] * len(titles))]


def measured(values: Sequence[float]) -> str:
    """Return mean and standard deviation, or nothing."""
    if not values:
        return ''
    mean, deviation = spread(values)
    return f'{mean:.4g}' if deviation is None else f'{mean:.4g} ± {deviation:.2g}'


def interval(gap: Difference | None) -> str:
    """Return a difference with its interval, if there is one."""
    if gap is None:
        return ''
    return f'{gap.mean:+.3g}' if gap.pairs < 2 else f'{gap.mean:+.3g} [{gap.low:+.3g}, {gap.high:+.3g}]'


def remark(verdict: Verdict, gap: Difference | None) -> str:
    """Return a verdict with the number of pairs that it rests on."""
    if gap is None:
        return 'undecided: no pair of runs yet'
    text = verdict if verdict == 'undecided' else f'**{verdict}**'
    return f'{text}, {counted(gap.pairs, "seed")}'


class Figure:
    """A picture of the report, with the heading and the table that go with it."""

    def __init__(self, path: Path, heading: str, x_label: str, panels: dict[str, list[Curve]], whole: bool) -> None:
        self.path, self.x_label, self.panels, self.whole = path, x_label, panels, whole
        self.lines = ['', f'### {heading}', '', f'![{heading}]({path.relative_to(DOCS)})']

    def draw(self) -> None:
        """Write the picture."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draw_panels(self.panels, self.x_label, str(self.path), whole_numbers=self.whole)


def figures(scores: Scores) -> Iterator[Figure]:
    """Yield the pictures of a table: metrics by offset, for video, and against cost."""
    folder = DOCS / 'results'
    name = scores.settings.table.name
    if panels := scores.offset_panels():
        figure = Figure(folder / f'{name}_offsets.png', 'Metrics by offset', 'frames since the key frame', panels, True)
        for metric, curves in panels.items():
            width = max(len(curve.y) for curve in curves)
            figure.lines += ['', *head_of(metric, *(f'offset {offset}' for offset in range(width)))]
            figure.lines += [row_of(curve.label, *(f'{value:.4g}' for value in curve.y)) for curve in curves]
        yield figure
    for tasks, panels in scores.cost_panels().items():
        path = folder / f'{name}_cost_{"-".join(tasks)}.png'
        yield Figure(path, f'Metrics against cost: {", ".join(tasks)}', 'GMAC of a frame', panels, False)


def write_report() -> Path:
    """Write docs/results.md and its pictures."""
    path = DOCS / 'results.md'
    found = read_scores()
    for scores in found:
        for figure in figures(scores):
            figure.draw()
    write_text(path, report(found))
    return path
