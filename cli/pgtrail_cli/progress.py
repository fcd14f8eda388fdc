"""How far a command is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pgtrail_cli.render import console


@contextmanager
def progress_bar(doing: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, on a terminal only; gives the function that advances it."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # (A bar of nothing would leave an empty line.)
    with Progress(*columns, console=console(stderr=True), transient=True, disable=not total) as progress:
        task = progress.add_task(doing, total=total)
        yield lambda count: progress.advance(task, count)
