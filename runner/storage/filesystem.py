"""A directory as a storage: a mounted volume, or a disk on a laptop.

A key is a path below the root. Files appear under their name only when they
are whole and on disk: written to a temporary name in the same directory,
fsynced, then linked or renamed. A temporary file is this storage's form of an
unfinished multipart upload.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import secrets
import stat
from collections.abc import Generator, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Self

from controller.api.errors import BackupError, ChecksumMismatch, ObjectExists
from runner.storage.base import ObjectInfo, Properties
from runner.storage.failure import Call, denied, missing, refused, unavailable

_PART_SIZE_BYTES = 8 * 1024 * 1024
_CHUNK_BYTES = 1024 * 1024
_TEMPORARY = ".upload-"
_RANDOM_BYTES = 8
# Another thread or process may remove an empty directory between mkdir and open.
_MKDIR_TRIES = 20

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR})
_NO_HARD_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK})
#: Of renameat2, which Python has no name for.
_AT_FDCWD, _RENAME_NOREPLACE = -100, 1
_NO_SUCH_RENAME = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP})
_PASSING = frozenset({errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EINTR, errno.EMFILE})


def map_error(error: OSError, call: Call) -> BackupError:
    """What an operating system's error means for a location."""
    text = os.strerror(error.errno) if error.errno else type(error).__name__
    if error.errno in _FULL:
        return unavailable(call, f"the volume is full ({text}); enlarge it or keep fewer backups")
    if error.errno in _FORBIDDEN:
        cure = f"user {os.getuid()} needs read and write access to the volume (fsGroup)"
        return denied(call, text, cure)
    if error.errno in _ABSENT:
        return missing(call, "no such object")
    if error.errno == errno.EEXIST:
        return ObjectExists(f"{call}: it exists already")
    if error.errno in _PASSING:
        return unavailable(call, text)
    return refused(call, text)


class FilesystemStorage:
    """Objects as files below `root`, which has to exist.

    It is not created: where the volume is not mounted, backups would go to
    the container's own disk and be lost with it.
    """

    def __init__(
        self, location: str, root: Path, *, part_size_bytes: int = _PART_SIZE_BYTES
    ) -> None:
        self._location = location
        self._root = root
        self._properties = Properties(
            part_size_bytes=part_size_bytes,
            max_parts=1_000_000,
            conditional_put=True,
            checksum="fsync",
        )

    @property
    def properties(self) -> Properties:
        return self._properties

    def create_upload(self, key: str, /) -> FilesystemUpload:
        with self.mapped("create_upload", key) as call:
            return FilesystemUpload(self, call, self._temporary(call))

    def put_new(self, key: str, data: bytes, /) -> ObjectInfo:
        with self.mapped("put_new", key) as call, _Temporary(self._temporary(call)) as temporary:
            temporary.write(data)
            return self.publish(call, temporary, is_new=True)

    def put(self, key: str, data: bytes, /) -> ObjectInfo:
        with self.mapped("put", key) as call, _Temporary(self._temporary(call)) as temporary:
            temporary.write(data)
            return self.publish(call, temporary, is_new=False)

    def open_stream(self, key: str, /, *, offset: int = 0) -> Generator[bytes, None, None]:
        with self.mapped("open_stream", key) as call:
            # A FIFO or a device would block or never end; _describe refuses both.
            fd = os.open(self._path(call), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(fd, "rb", buffering=0) as file:
                size_bytes = self._describe(call, os.fstat(fd)).size_bytes
                file.seek(offset)
                left_bytes = size_bytes - offset
                while left_bytes > 0:
                    chunk = file.read(min(_CHUNK_BYTES, left_bytes))
                    if not chunk:
                        raise unavailable(call, "the file became shorter while it was read")
                    left_bytes -= len(chunk)
                    yield chunk

    def stat(self, key: str, /) -> ObjectInfo:
        with self.mapped("stat", key) as call:
            return self._describe(call, os.lstat(self._path(call)))

    def list(self, prefix: str, /) -> Iterator[ObjectInfo]:
        with self.mapped("list", prefix) as call:
            for key in self._walk(self._folder_of(call), prefix):
                if _is_temporary(key):
                    continue
                one = Call(self._location, call.operation, key)
                with contextlib.suppress(FileNotFoundError):  # deleted since it was listed
                    yield self._describe(one, os.lstat(self._root / key))

    def delete(self, keys: Iterable[str], /) -> None:
        first: BackupError | None = None
        for key in keys:
            try:
                with self.mapped("delete", key) as call:
                    path = self._path(call)
                    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                        path.unlink()
                    self.remove_empty_folders(path.parent)
            except BackupError as error:
                first = first or error
        if first:
            raise first

    def abort_stale_uploads(self, prefix: str, /, *, begun_before: datetime | None = None) -> int:
        with self.mapped("abort_stale_uploads", prefix) as call:
            count = 0
            for key in list(self._walk(self._folder_of(call), "")):
                if not _is_temporary(key) or not _target_key(key).startswith(prefix):
                    continue
                with contextlib.suppress(FileNotFoundError):
                    if begun_before and _modified_at(self._root / key) >= begun_before:
                        continue
                    (self._root / key).unlink()
                    count += 1
                self.remove_empty_folders((self._root / key).parent)
            return count

    def close(self) -> None:
        """Nothing is kept open between calls."""

    @contextlib.contextmanager
    def mapped(self, operation: str, key: str) -> Iterator[Call]:
        call = Call(self._location, operation, key)
        try:
            if not self._root.is_dir():
                raise missing(call, f"the directory {self._root} does not exist; mount the volume")
            yield call
        except OSError as error:
            raise map_error(error, call) from error

    def _path(self, call: Call) -> Path:
        """Where a key lives. Keys come out of manifests too: nothing may leave the root."""
        parts = call.key.split("/")
        if "\0" in call.key or any(part in {"", ".", ".."} for part in parts):
            raise refused(call, "this key is no path below the location's directory")
        if any(part.startswith(_TEMPORARY) for part in parts):
            raise refused(call, f"names that start with {_TEMPORARY!r} are unfinished uploads")
        return self._root.joinpath(*parts)

    def _folder_of(self, call: Call) -> str:
        """The folder part of a prefix, "" or with its slash."""
        folder, slash, _ = call.key.rpartition("/")
        if slash:
            self._path(Call(call.location, call.operation, folder))
        return folder + slash

    def _temporary(self, call: Call) -> BinaryIO:
        """A new temporary file beside the key's own place, in a directory that exists."""
        path = self._path(call)
        name = f"{_TEMPORARY}{secrets.token_hex(_RANDOM_BYTES)}-{path.name}"
        for _ in range(_MKDIR_TRIES):
            try:
                self._make_folder(path.parent)
                return (path.parent / name).open("xb", buffering=0)
            except FileNotFoundError as error:
                last = error
        raise last

    def _make_folder(self, folder: Path) -> None:
        """Like makedirs, but never above the root, and each new name is on disk."""
        if folder.is_dir():
            return
        if folder != self._root:
            self._make_folder(folder.parent)
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            _sync_folder(folder.parent)

    def publish(self, call: Call, temporary: _Temporary, *, is_new: bool) -> ObjectInfo:
        """Give a whole, flushed file its name."""
        path = self._path(call)
        temporary.sync()
        if is_new:
            self._link_new(temporary.path, path)
        else:
            temporary.path.replace(path)
        _sync_folder(path.parent)
        return self._describe(call, os.lstat(path))

    def _link_new(self, temporary: Path, path: Path) -> None:
        try:
            path.hardlink_to(temporary)
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            # No hard links here, and for most such file systems the kernel has another way.
            if not _rename_new(temporary, path):
                # A crash between these two lines leaves an empty file under the name.
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640))
                temporary.replace(path)
        else:
            temporary.unlink()

    def _describe(self, call: Call, status: os.stat_result) -> ObjectInfo:
        if not stat.S_ISREG(status.st_mode):
            raise missing(call, "no such object (there is something else of this name)")
        return ObjectInfo(
            key=call.key,
            size_bytes=status.st_size,
            # Every write makes a new file: a new inode, or at least a new time.
            etag=f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}",
            modified_at=datetime.fromtimestamp(status.st_mtime, UTC),
        )

    def _walk(self, folder: str, prefix: str) -> Iterator[str]:
        """Keys of all files below `folder`, ascending by code points of the whole key."""
        try:
            with os.scandir(self._root / folder) as entries:
                names = [
                    f"{e.name}/" if e.is_dir(follow_symlinks=False) else e.name for e in entries
                ]
        except (FileNotFoundError, NotADirectoryError):
            return
        for name in sorted(names):
            key = folder + name
            # What cannot lead to the prefix is not looked into.
            if not (key.startswith(prefix) or prefix.startswith(key)):
                continue
            if name.endswith("/"):
                yield from self._walk(key, prefix)
            else:
                yield key

    def remove_empty_folders(self, folder: Path) -> None:
        with contextlib.suppress(OSError):  # not empty, or gone already
            while folder != self._root:
                folder.rmdir()
                folder = folder.parent


class _Temporary:
    """A file that vanishes unless it got another name."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._flush_error: OSError | None = None
        self.path = Path(file.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self.discard()

    def seek(self, offset: int) -> None:
        self._file.seek(offset)
        self._file.truncate()

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        # Starts the disk without waiting for it, so that the last fsync finds little left
        # to do; and a backup, which nobody reads soon, pushes no other pages out of memory.
        with contextlib.suppress(OSError):  # advice only: not every file system takes it
            os.posix_fadvise(self._file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def sync(self) -> None:
        """Put everything on disk.

        A flush that failed once has failed for good: the kernel drops the
        pages it could not write and reports success the next time.
        """
        try:
            if self._flush_error:
                raise self._flush_error
            os.fsync(self._file.fileno())
        except OSError as error:
            self._flush_error = error
            raise

    def size_bytes(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def discard(self) -> None:
        self._file.close()
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()


class FilesystemUpload:
    """One temporary file; part n starts where part n-1 ended."""

    def __init__(self, storage: FilesystemStorage, call: Call, file: BinaryIO) -> None:
        self._storage = storage
        self._call = call
        self._temporary = _Temporary(file)
        self._offsets = [0]
        self._done: ObjectInfo | None = None

    def put_part(self, number: int, data: bytes, /) -> None:
        with self.mapped("put_part"):
            del self._offsets[number:]
            self._temporary.seek(self._offsets[number - 1])
            self._temporary.write(data)
            self._offsets.append(self._offsets[number - 1] + len(data))

    def complete(self) -> ObjectInfo:
        if self._done:
            return self._done
        with self.mapped("complete") as call:
            if self._temporary.size_bytes() != self._offsets[-1]:
                raise ChecksumMismatch(f"{call}: the file has not the size that was written")
            done = self._storage.publish(call, self._temporary, is_new=False)
            self._temporary.discard()
        self._done = done
        return done

    def abort(self) -> None:
        with self.mapped("abort"):
            self._temporary.discard()
            self._storage.remove_empty_folders(self._temporary.path.parent)

    @contextlib.contextmanager
    def mapped(self, operation: str) -> Iterator[Call]:
        with self._storage.mapped(operation, self._call.key) as call:
            yield call


def _rename_new(source: Path, target: Path) -> bool:
    """Rename in one step, replacing nothing; False where libc, kernel or file system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        return False
    if not rename(
        _AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE
    ):
        return True
    number = ctypes.get_errno()
    if number in _NO_SUCH_RENAME:
        return False
    raise OSError(number, os.strerror(number), str(source), None, str(target))


def _modified_at(path: Path) -> datetime:
    return datetime.fromtimestamp(path.lstat().st_mtime, UTC)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _is_temporary(key: str) -> bool:
    return key.rpartition("/")[2].startswith(_TEMPORARY)


def _target_key(key: str) -> str:
    """The key that a temporary file was going to have."""
    folder, slash, name = key.rpartition("/")
    return folder + slash + name[len(_TEMPORARY) + 2 * _RANDOM_BYTES + 1 :]
