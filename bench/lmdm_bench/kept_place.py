"""Room on the disk for a record, taken before the run that will need it."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from lmdm_bench.record import write_whole

ZEROS = bytes(1 << 20)


class KeptPlace:
    """A file of zeros beside where the record will be, given up when the record is written.

    So a disk that others fill while a stream plays is no loss. Where the folder itself has gone,
    the record goes to the system's folder for temporary files.
    """

    def __init__(self, path: Path, num_bytes: int, say: Callable[[str], None]) -> None:
        """Raises OSError where there is not so much room now."""
        self._path = path
        self._zeros = path.with_name(f".{path.name}.room")
        self._num_bytes = num_bytes
        self._say = say
        self._take()

    def save(self, content: bytes, *, is_last: bool) -> None:
        """Write the record, whole or not at all; room for a later one is taken again."""
        self._give_up()
        try:
            write_whole(self._path, content)
        except OSError as error:
            other = Path(tempfile.mkdtemp(prefix="lmdm-bench-")) / self._path.name
            write_whole(other, content)
            self._say(f"{self._path} cannot be written ({error.strerror}); the record is {other}")
            return
        if not is_last:
            self._take()

    def close(self) -> None:
        """Nothing more is written."""
        self._give_up()

    def _take(self) -> None:
        try:
            # Zeros that are written, not only asked for: not every system can do that.
            with self._zeros.open("wb") as file:
                for start in range(0, self._num_bytes, len(ZEROS)):
                    file.write(ZEROS[: self._num_bytes - start])
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            self._give_up()
            raise

    def _give_up(self) -> None:
        self._zeros.unlink(missing_ok=True)
