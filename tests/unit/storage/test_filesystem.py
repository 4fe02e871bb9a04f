"""What only the directory storage can do wrong."""

from __future__ import annotations

import ctypes
import errno
import os
import pwd
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from controller.api.errors import (
    AccessDenied,
    ObjectExists,
    ObjectNotFound,
    StorageUnavailable,
    TerminalError,
)
from runner.storage.failure import Call
from runner.storage.filesystem import FilesystemStorage, map_error

HOSTILE_KEYS = (
    "../outside",
    "a/../../outside",
    "/etc/passwd",
    "a//b",
    "a/./b",
    "a/",
    "",
    ".",
    "..",
    "a/..",
    "nul\0byte",
    ".upload-0011223344556677-x",
    ".upload-x/y",
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "outside").write_text("secret")
    root = tmp_path / "root"
    root.mkdir()
    return root


@pytest.fixture
def storage(root: Path) -> FilesystemStorage:
    return FilesystemStorage("disk", root)


@pytest.mark.parametrize("key", HOSTILE_KEYS)
def test_no_key_leads_out_of_the_directory(
    storage: FilesystemStorage, root: Path, key: str
) -> None:
    calls: list[Callable[[], object]] = [
        lambda: storage.put(key, b"x"),
        lambda: storage.put_new(key, b"x"),
        lambda: storage.create_upload(key),
        lambda: storage.stat(key),
        lambda: list(storage.open_stream(key)),
        lambda: storage.delete([key]),
    ]
    for call in calls:
        with pytest.raises(TerminalError):
            call()

    assert (root.parent / "outside").read_text() == "secret"
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("prefix", ["../", "a/../../", "/", "/etc/", "a//"])
def test_no_prefix_leads_out_of_the_directory(storage: FilesystemStorage, prefix: str) -> None:
    with pytest.raises(TerminalError):
        list(storage.list(prefix))
    with pytest.raises(TerminalError):
        storage.abort_stale_uploads(prefix)


def test_a_link_is_no_object(storage: FilesystemStorage, root: Path) -> None:
    (root / "link").symlink_to(root.parent / "outside")
    (root / "folder").symlink_to(root.parent)

    for call in (lambda: storage.stat("link"), lambda: list(storage.open_stream("link"))):
        with pytest.raises(TerminalError):
            call()


def test_a_fifo_does_not_hang(storage: FilesystemStorage, root: Path) -> None:
    os.mkfifo(root / "fifo")

    with pytest.raises(ObjectNotFound):
        list(storage.open_stream("fifo"))


def test_a_missing_directory_is_not_made(tmp_path: Path) -> None:
    storage = FilesystemStorage("disk", tmp_path / "not-mounted")

    for call in (
        lambda: storage.put("k", b"x"),
        lambda: storage.create_upload("k"),
        lambda: list(storage.list("")),
    ):
        with pytest.raises(ObjectNotFound, match="not-mounted does not exist; mount the volume"):
            call()
    assert not (tmp_path / "not-mounted").exists()


def test_delete_removes_folders_that_became_empty(storage: FilesystemStorage, root: Path) -> None:
    for key in ("ns/db/_data/1/a", "ns/db/_data/1/b", "ns/db/_manifests/1.json"):
        storage.put(key, b"")

    storage.delete(["ns/db/_data/1/a", "ns/db/_data/1/b"])
    assert not (root / "ns/db/_data").exists()

    storage.delete(["ns/db/_manifests/1.json"])
    assert list(root.iterdir()) == []


def test_an_aborted_upload_leaves_no_file_and_no_folder(
    storage: FilesystemStorage, root: Path
) -> None:
    upload = storage.create_upload("ns/db/x")
    upload.put_part(1, b"x")

    upload.abort()

    assert list(root.iterdir()) == []


def test_a_part_sent_again_after_a_short_write_leaves_no_rest(
    storage: FilesystemStorage, root: Path
) -> None:
    upload = storage.create_upload("k")
    upload.put_part(1, b"1111")
    upload.put_part(2, b"2222 and what a failed attempt left behind")
    upload.put_part(2, b"2222")

    assert upload.complete().size_bytes == 8
    assert (root / "k").read_bytes() == b"11112222"


def test_put_new_without_hard_links(
    storage: FilesystemStorage, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some volumes (SMB, FUSE) have none."""

    def no_links(*_args: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(Path, "hardlink_to", no_links)
    # A name that is made first and filled in a second step stays empty after a crash.
    monkeypatch.setattr(Path, "replace", no_links)

    assert storage.put_new("a/k", b"first").size_bytes == 5
    with pytest.raises(ObjectExists):
        storage.put_new("a/k", b"second")
    assert (root / "a/k").read_bytes() == b"first"
    assert [path.name for path in (root / "a").iterdir()] == ["k"]


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EINVAL])
def test_put_new_without_hard_links_and_without_such_a_rename(
    storage: FilesystemStorage, root: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """An old kernel, or a network file system that knows neither."""

    class OldLibrary:
        @staticmethod
        def renameat2(*_args: object) -> int:
            ctypes.set_errno(number)
            return -1

    def no_links(*_args: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(Path, "hardlink_to", no_links)
    monkeypatch.setattr(ctypes, "CDLL", lambda *_args, **_options: OldLibrary())

    storage.put_new("k", b"first")
    with pytest.raises(ObjectExists):
        storage.put_new("k", b"second")
    assert (root / "k").read_bytes() == b"first"
    assert [path.name for path in root.iterdir()] == ["k"]


def test_a_failed_flush_is_never_taken_back(
    storage: FilesystemStorage, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failed fsync the kernel reports success for pages that it dropped."""
    upload = storage.create_upload("k")
    upload.put_part(1, b"x")
    answers = [OSError(errno.EIO, "Input/output error")]

    def fsync(_fd: int) -> None:
        if answers:
            raise answers.pop()

    monkeypatch.setattr(os, "fsync", fsync)
    for _ in range(2):
        with pytest.raises(StorageUnavailable):
            upload.complete()

    upload.abort()
    assert list(root.iterdir()) == []


def test_writers_and_deleters_of_one_folder_do_not_meet(storage: FilesystemStorage) -> None:
    def work(number: int) -> None:
        for _ in range(50):
            storage.put(f"a/b/c/{number}", b"x")
            storage.delete([f"a/b/c/{number}"])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))


def test_a_full_volume_is_said_to_be_full(tmp_path: Path) -> None:
    """On a real volume of 1 MiB, where this machine lets us have one."""
    volume = tmp_path / "volume"
    volume.mkdir()
    if os.geteuid() != 0 or os.system(f"mount -t tmpfs -o size=1m none {volume} 2>/dev/null"):
        pytest.skip("mounting a small volume needs root and CAP_SYS_ADMIN")
    try:
        storage = FilesystemStorage("disk", volume)
        upload = storage.create_upload("k")
        with pytest.raises(StorageUnavailable, match="volume is full"):
            upload.put_part(1, bytes(2 * 1024 * 1024))
        upload.abort()

        assert storage.put("k", b"fits").size_bytes == 4
        with pytest.raises(StorageUnavailable, match="volume is full"):
            storage.put("k", bytes(2 * 1024 * 1024))
        assert b"".join(storage.open_stream("k")) == b"fits"
        assert [path.name for path in volume.iterdir()] == ["k"]
    finally:
        os.system(f"umount {volume}")


def test_a_directory_of_somebody_else_is_denied(root: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody else")
    root.chmod(0o755)
    child = os.fork()
    if child == 0:
        os._exit(_exit_code_of_put(root))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42


def _exit_code_of_put(root: Path) -> int:
    """In a child process: 42 if the put was denied with its cure."""
    try:
        os.chdir(root)
        os.setuid(pwd.getpwnam("nobody").pw_uid)
        FilesystemStorage("disk", Path()).put("k", b"x")
    except AccessDenied as error:
        return 42 if "fsGroup" in str(error) else 1
    except Exception:  # noqa: BLE001 - a forked child never returns into pytest
        return 2
    return 3


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENOSPC, StorageUnavailable),
        (errno.EDQUOT, StorageUnavailable),
        (errno.EIO, StorageUnavailable),
        (errno.ESTALE, StorageUnavailable),
        (errno.EACCES, AccessDenied),
        (errno.EPERM, AccessDenied),
        (errno.EROFS, AccessDenied),
        (errno.ENOENT, ObjectNotFound),
        (errno.ENOTDIR, ObjectNotFound),
        (errno.EEXIST, ObjectExists),
        (errno.ENAMETOOLONG, TerminalError),
        (errno.EISDIR, TerminalError),
        (errno.ELOOP, TerminalError),
    ],
)
def test_errors_of_the_system(number: int, error: type[Exception]) -> None:
    mapped = map_error(OSError(number, "words"), Call("disk", "put", "k"))

    assert type(mapped) is error
    assert str(mapped).startswith("location disk: put 'k': ")
