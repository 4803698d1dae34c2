"""Something done again and again beside the work, in a thread of its own, until it is told to stop."""

import threading
from collections.abc import Callable

__all__ = ["Beat"]


class Beat:
    """Calls `do` every `seconds`, the first time after as long, from when it is made. Raises nothing: `do` must not.

    name: of the thread.
    """

    def __init__(self, seconds: float, do: Callable[[], object], name: str) -> None:
        self._seconds, self._do, self._over = seconds, do, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name=name)
        self._thread.start()

    @property
    def stopped(self) -> bool:
        """Whether it was told to stop."""
        return self._over.is_set()

    def stop(self) -> None:
        """Return when the last call has come to its end; none follows."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._seconds):
            self._do()
