"""Progress bars for whatever takes over a second."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[str, float], None]]:
    """A bar on standard error; quiet where that is no terminal.

    Args:
        title: What is going on, until the callback says more.

    Yields:
        ``report(what, share)`` with share in [0, 1].
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bars:
        task = bars.add_task(title, total=1.0)

        def report(what: str, share: float) -> None:
            bars.update(task, description=what, completed=share)

        yield report
