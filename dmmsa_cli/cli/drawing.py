"""What is drawn anew on a terminal while a command works, and what stays when it ends."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live


class Drawing:
    """Draws on a terminal, and nowhere else; a context manager.

    Args:
        console: where to.
        per_second: how often, at most.
    """

    def __init__(self, console: Console, per_second: int = 4) -> None:
        self.console = console
        self._live = (
            Live(console=console, refresh_per_second=per_second, transient=True) if console.is_terminal else None
        )

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()
        self._leave()

    @property
    def live(self) -> bool:
        """Whether there is a terminal to draw on."""
        return self._live is not None

    def _show(self, drawn: RenderableType) -> None:
        """Put this in the place of what was drawn before."""
        if self._live:
            self._live.update(drawn)

    def _leave(self) -> None:
        """Print what stays, stopped or not."""
