"""How far the encoding of clips is, on standard error."""

from __future__ import annotations


class EncodingBar:
    """Clips encoded: a bar on a terminal, elsewhere a line each tenth."""

    def __init__(self, name: str, total: int) -> None:
        from rich.console import Console
        from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

        self._name = name
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._said = 0
        columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._task = self._bar.add_task(f"{name}: encoding", total=total)

    def __enter__(self) -> EncodingBar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, done: int, total: int) -> None:
        """After each batch."""
        self._bar.update(self._task, completed=done)
        tenth = 10 * done // total
        if not self._console.is_terminal and tenth > self._said:
            self._said = tenth
            self._console.print(f"{self._name}: {done} of {total} clips encoded", markup=False)
