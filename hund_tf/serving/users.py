"""Who uses a thing is counted; when nobody does any more, that is told."""

import contextlib


class Users:
    """Counts who uses a thing; all on one thread. `callback`, once set, is called when nobody does."""

    def __init__(self):
        self.count, self._callback = 0, None

    @contextlib.contextmanager
    def one_more(self):
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1
            self._tell()

    def when_none(self, callback):
        self._callback = callback
        self._tell()

    def _tell(self):
        if not self.count and self._callback:
            callback, self._callback = self._callback, None
            callback()
