"""Locations that refuse, hang, crawl, are full or not who they say; the others go on."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.jobs.commands import eventually
from tests.integration.jobs.conftest import MakeWorld
from tests.integration.jobs.places import Folder, minio_bucket, moto_bucket
from tests.integration.jobs.world import World
from tests.servers import minio
from tests.servers.minio import MinioServer
from tests.servers.moto import MotoServer
from tests.servers.provider import ServerMissing, skip_or_fail
from tests.servers.proxy import Fault, HttpProxy, TcpProxy
from tests.servers.tls import Authority

ALWAYS = 10**6


@pytest.fixture
def s3_behind(moto_server: MotoServer) -> Iterator[HttpProxy]:
    with HttpProxy(moto_server.port) as proxy:
        yield proxy


def _assert_partial(world: World, done: object, bad: str, good: list[str], *words: str) -> None:
    """The backup is in the good places whole, and nothing of it in the bad one."""
    outcome = done.outcome()  # type: ignore[attr-defined]
    fates = {fate["name"]: fate for fate in outcome["fates"]}
    assert not fates[bad]["ok"]
    for word in words:
        assert word in fates[bad]["message"], fates[bad]
    for name in good:
        assert fates[name]["ok"], fates[name]
        assert outcome["backupId"] in world.backups(world.place(name))
        world.cli("verify", outcome["backupId"], "--location", name).must(0)


def test_what_is_tried_again_stands_in_no_text_for_people(
    make_world: MakeWorld, s3_behind: HttpProxy, moto_server: MotoServer
) -> None:
    world = make_world(moto_bucket(moto_server, endpoint=s3_behind.endpoint))
    s3_behind.add(fault := Fault(status=503, times=2))

    done = world.cli("doctor", LOG_LEVEL="").must(0, "ok    location s3")

    assert fault.hits == 2
    assert done.err == ""
    assert all(line.startswith("ok    ") for line in done.out.splitlines()), done.out


def test_without_the_right_to_list_uploads_the_rest_is_taken_back(
    make_world: MakeWorld, s3_behind: HttpProxy, moto_server: MotoServer
) -> None:
    bucket = moto_bucket(moto_server, endpoint=s3_behind.endpoint)
    world = make_world(bucket)
    denied = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
    world.cli("doctor").must(0, "ok    location s3")

    s3_behind.add(Fault(method="GET", path_part="uploads", status=403, body=denied, times=ALWAYS))
    world.cli("doctor").must(78, "FAIL  location s3", "s3:ListBucketMultipartUploads")
    # One stream is stored before the other one is refused.
    s3_behind.add(Fault(method="PUT", path_part="dump.0000", status=403, body=denied, times=ALWAYS))
    world.cli("backup-now").must(78, "could be taken back", "s3:ListBucketMultipartUploads")

    assert any("globals.0000" in path for method, path in s3_behind.requests if method == "PUT")
    world.assert_no_half_backup()
    with world.runner() as runner:
        eventually(lambda: "uploads not aborted" in runner.log, say=lambda: runner.log)


@pytest.mark.parametrize(
    ("status", "code", "exit_code"),
    [
        (500, b"<Error><Code>InternalError</Code><Message>broken</Message></Error>", 75),
        (403, b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>", 78),
    ],
    ids=["500", "403"],
)
def test_location_that_answers_with_errors_in_the_middle(
    make_world: MakeWorld,
    s3_behind: HttpProxy,
    moto_server: MotoServer,
    status: int,
    code: bytes,
    exit_code: int,
) -> None:
    bucket = moto_bucket(moto_server, endpoint=s3_behind.endpoint)
    world = make_world("folder", "gcs", bucket)
    older = world.back_up()
    stock = world.stock()
    # Uploads begin, their parts are refused from then on.
    fault = s3_behind.add(
        Fault(method="PUT", path_part="partNumber", status=status, body=code, times=ALWAYS)
    )

    done = world.cli("backup-now", "--json")

    done.must(exit_code, "2 of 3 locations", "3 required")
    _assert_partial(world, done, "s3", ["folder", "gcs"], "s3")
    assert world.backups(bucket) == [older]
    world.assert_nothing_lost(stock)
    world.assert_nothing_left()
    world.assert_no_half_backup()
    # With fewer required the same is a success, and says so per location.
    world.configure(storage={"minSuccessfulLocations": 2})
    with world.runner() as runner:
        done = world.cli("backup-now", "--json").must(0)
        _assert_partial(world, done, "s3", ["folder", "gcs"], "s3")
        assert runner.metric("last_job_success", job_type="backup") == 1
        assert runner.metric("location_last_backup_success", location="s3") == 0
        assert runner.metric("location_last_backup_success", location="gcs") == 1
        # And the next backup fills the place again.
        fault.times = 0
        newest = world.back_up()
        assert world.backups(bucket) == [older, newest]
        assert runner.metric("location_last_backup_success", location="s3") == 1
        assert runner.metric("location_stored_backup_count", location="s3") == 2
        assert runner.metric("location_stored_backup_count", location="folder") == 4
        world.cli("status").must(0, "s3: ok, 2 backups", "folder: ok, 4 backups")
    world.assert_all_restorable()


def test_two_of_three_locations_down(
    make_world: MakeWorld, s3_behind: HttpProxy, moto_server: MotoServer, tmp_path: Path
) -> None:
    bucket = moto_bucket(moto_server, endpoint=s3_behind.endpoint)
    gone = Folder("volume", tmp_path / "not-mounted")
    world = make_world("folder", bucket, gone)
    s3_behind.add(Fault(status=403, times=ALWAYS, body=b"<Error><Code>AccessDenied</Code></Error>"))

    done = world.cli("backup-now", "--json").must(78, "1 of 3 locations", "3 required")
    backup_id = done.outcome()["backupId"]
    world.configure(storage={"minSuccessfulLocations": 1})
    with world.runner() as runner:
        second = world.cli("backup-now", "--json").must(0).outcome()["backupId"]
        assert runner.metric("location_healthy", location="s3") == 0
        assert runner.metric("location_healthy", location="volume") == 0
        assert runner.metric("location_healthy", location="folder") == 1
        world.cli("status").must(0, "s3: AccessDenied", "volume: ")

    assert world.backups(world.place("folder")) == [backup_id, second]
    assert not gone.path.exists(), "where nothing is mounted, nothing is made"
    world.cli("list").must(0, backup_id, "s3", "volume")
    new = f"{world.database}_new"
    world.cli("restore", "--at", "now", "--database", new).must(0, second)
    world.cli("doctor").must(78, "ok    location folder", "FAIL  location s3: ")
    # With all of them down there is nothing to dump for.
    world.configure(locations={"folder": {"path": str(tmp_path / "neither")}})
    world.cli("backup-now").must(78, "0 of 3 locations")


@pytest.fixture
def own_minio() -> Iterator[MinioServer]:
    """A server that a test may stop. Ask for it before the world, which looks at it last."""
    try:
        context = minio.running()
        with context as server:
            yield server
    except ServerMissing as missing:
        skip_or_fail(missing)


def test_location_that_hangs_is_dropped_and_the_others_go_on(
    own_minio: MinioServer, make_world: MakeWorld, slow_database: TcpProxy
) -> None:
    """Stopped in the middle of the upload; later it hangs from the start."""
    bucket = minio_bucket(own_minio)
    world = make_world("folder", bucket, large=True)
    settings = {
        "database": {"host": "127.0.0.1", "port": slow_database.port},
        "storage": {"minSuccessfulLocations": 1},
        "stallTimeout": "16s",
    }
    world.configure(**settings)
    older = world.back_up()
    stock = world.stock()
    slow_database.bytes_per_s = 1e6
    try:
        with world.started("backup-now", "--json") as client:
            world.find_process("pg_dump")
            own_minio.suspend()
            slow_database.bytes_per_s = 8e6
            started = time.monotonic()
            out, _ = client.communicate(timeout=120)
            assert client.returncode == 0, out
            assert time.monotonic() - started < 100
        assert "minio" in out
        assert len(world.backups(world.place("folder"))) == 2
        slow_database.bytes_per_s = None
    finally:
        own_minio.resume()
    world.assert_nothing_lost(stock)
    assert world.backups(bucket) == [older]
    # What the hung server still had of it is taken back at the next start.
    with world.runner():
        world.assert_all_restorable()
        newest = world.back_up()
    assert world.backups(bucket) == [older, newest]
    # What it was asked for when it hung it may have begun after that, and nobody knows of it: it
    # goes when it is older than `timeout`.
    bucket.abort_uploads()


def test_location_that_hangs_from_the_start(own_minio: MinioServer, make_world: MakeWorld) -> None:
    bucket = minio_bucket(own_minio)
    world = make_world(bucket, "folder")
    world.configure(storage={"minSuccessfulLocations": 1}, stallTimeout="16s")
    older = world.back_up()
    own_minio.suspend()
    try:
        done = world.cli("backup-now", "--json", timeout_s=100).must(0)
        fates = {fate["name"]: fate["ok"] for fate in done.outcome()["fates"]}
        assert fates == {"minio": False, "folder": True}
        new = f"{world.database}_new"
        world.cli("restore", "--at", "now", "--database", new, timeout_s=100).must(0, "minio")
    finally:
        own_minio.resume()
    assert world.backups(bucket) == [older]


def test_slow_location_holds_up_but_is_kept(
    make_world: MakeWorld, minio_server: MinioServer
) -> None:
    with TcpProxy(minio_server.port) as proxy:
        # Host headers are signed: the server takes any.
        bucket = minio_bucket(minio_server, endpoint=proxy.endpoint)
        world = make_world("folder", bucket, large=True)
        world.configure(stallTimeout="30s")
        proxy.bytes_per_s = 3e6

        started = time.monotonic()
        backup_id = world.back_up()

        assert time.monotonic() - started > 3
        proxy.bytes_per_s = None
        assert world.backups(bucket) == [backup_id]
        world.assert_all_restorable()


@pytest.fixture
def full_folder(tmp_path: Path) -> Iterator[Folder]:
    """A small file system."""
    path = tmp_path / "small"
    path.mkdir()
    if os.geteuid() != 0:
        pytest.skip("a small file system needs root: run the tests as root to try a full disk")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", path], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"mount is not allowed here: {mounted.stderr.decode()}")
    yield Folder("small", path)
    subprocess.run(["umount", path], check=True)


def test_full_location_fails_alone_and_gives_its_space_back(
    make_world: MakeWorld, full_folder: Folder
) -> None:
    world = make_world("folder", full_folder, large=True)
    world.configure(storage={"minSuccessfulLocations": 1})

    done = world.cli("backup-now", "--json").must(0)

    _assert_partial(world, done, "small", ["folder"], "full", "keep fewer backups")
    assert world.backups(full_folder) == []
    world.assert_no_half_backup()
    world.assert_nothing_left()
    used = os.statvfs(full_folder.path)
    assert used.f_bfree > 0.9 * used.f_blocks, "what was written is still there"
    world.configure()
    world.cli("backup-now").must(75, "1 of 2 locations", "full")


def test_wrong_ca_is_refused_and_named(
    make_world: MakeWorld, minio_tls_server: MinioServer, authority: Authority
) -> None:
    bucket = minio_bucket(minio_tls_server)
    world = make_world("folder")
    stranger = Authority("a stranger").certificate_pem
    from tests.integration.jobs.places import Bucket

    class _Unseen(Bucket):
        """Behind TLS: looked at through the runner alone."""

        def all_keys(self) -> list[str]:
            return []

        def uploads(self) -> list[str]:
            return []

    unseen = _Unseen(bucket.name, bucket.server, bucket.bucket, bucket.kind, bucket.endpoint)
    world.places = [*world.places, unseen]
    secure = {"storageUseSSL": True}
    world.configure(
        locations={"minio": secure | {"caBundle": {"value": stranger}}},
        storage={"minSuccessfulLocations": 1},
    )
    done = world.cli("backup-now", "--json").must(0)
    _assert_partial(world, done, "minio", ["folder"], "certificate", "caBundle")
    world.configure(
        locations={"minio": secure | {"caBundle": {"value": authority.certificate_pem}}}
    )
    done = world.cli("backup-now", "--json").must(0)
    assert all(fate["ok"] for fate in done.outcome()["fates"])
    world.cli("verify", "--location", "minio").must(0)
    world.configure(locations={"minio": secure | {"caBundle": {"value": "not a certificate"}}})
    world.cli("doctor").must(78, "caBundle")
