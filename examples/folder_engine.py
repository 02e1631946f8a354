"""An engine of one's own: a folder for each table, a file for each row."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hashstash.engines import ETAG, Engine


class FolderEngine(Engine):
    name, title = "folder", "Folder"
    location = property(lambda self: f"{self.place.folder}/{self.place.table}")

    def get(self, key: bytes) -> bytes | None:
        with suppress(FileNotFoundError):
            return Path(self.location, key.hex()).read_bytes()
        return None

    def put(self, key: bytes, row: bytes) -> None:
        with self._locked():
            self._change(key, row)

    def delete(self, key: bytes) -> bool:
        with self._locked():
            return self.get(key) is not None and self._change(key, None)

    def compare_and_set(self, key: bytes, etag: bytes | None, row: bytes | None) -> bool:
        with self._locked():
            found = self.get(key)
            return (None if found is None else found[ETAG]) == etag and self._change(key, row)

    def keys(self) -> Iterator[bytes]:
        with self._locked():
            names = [file.name for file in Path(self.location).iterdir()]
        yield from map(bytes.fromhex, names)

    def destroy(self) -> None:
        shutil.rmtree(self.place.folder, ignore_errors=True)

    def _change(self, key: bytes, row: bytes | None) -> bool:
        file, new = Path(self.location, key.hex()), Path(self.location + ".new")
        if row is None:
            file.unlink(missing_ok=True)
        else:
            new.write_bytes(row)
            new.replace(file)  # at once: readers take no lock
        return True

    @contextmanager
    def _locked(self) -> Iterator[None]:
        Path(self.location).mkdir(parents=True, exist_ok=True)
        with open(self.location + ".lock", "a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)  # a forked child may hold a copy of the file
