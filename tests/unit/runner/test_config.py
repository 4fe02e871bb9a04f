"""The runner's configuration: both forms, secrets read late, all problems at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.api import v1
from controller.api.errors import AccessDenied, DependencyMissing, InvalidSpec
from controller.api.secrets import Secret, SecretRef, SecretValue
from runner import config
from tests.builders import a_backup_manifest, a_config_folder, a_location_manifest

REFERENCE = SecretValue(from_secret=SecretRef(name="shop-db", key="password"))
POSTGRES = {
    "database": "shop",
    "host": "shop-db",
    "user": "backup",
    "pass": {"fromSecret": {"name": "shop-db", "key": "password"}},
}


def a_folder(tmp_path: Path, **parts: Any) -> Path:
    parts = {
        "backup": a_backup_manifest(postgres=POSTGRES),
        "secrets": {"shop-db/password": "canary-password\n"},
    } | parts
    return a_config_folder(tmp_path / "config", **parts)


def a_file(tmp_path: Path, *documents: object) -> Path:
    path = tmp_path / "shop.yaml"
    path.write_text(yaml.safe_dump_all(documents))
    return path


def a_class(*locations: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "backup.nect.com/v1",
        "kind": "DatabaseBackupStorageClass",
        "metadata": {"name": "standard"},
        "spec": {"backupLocations": list(locations) or [a_location_manifest()]},
    }


def test_folder_is_read_as_the_controller_mounts_it(tmp_path: Path) -> None:
    loaded = config.load(a_folder(tmp_path))

    assert loaded.backup.metadata == v1.ObjectMeta(name="shop", namespace="db")
    assert [one.path for one in loaded.storage.backup_locations] == ["/backups"]
    assert loaded.cluster_id == "2f0b6e54-5f5c-4b1c-8f9d-000000000001"
    assert loaded.warnings == ()
    assert loaded.resolve(REFERENCE) == Secret("canary-password")


@pytest.mark.parametrize("reverse", [False, True])
def test_one_file_with_both_objects_is_read(tmp_path: Path, reverse: bool) -> None:
    documents = [a_backup_manifest(postgres=POSTGRES), a_class()]
    path = a_file(tmp_path, *(documents[::-1] if reverse else documents))
    secret = tmp_path / "secrets" / "shop-db" / "password"
    secret.parent.mkdir(parents=True)
    secret.write_text("canary-password")

    loaded = config.load(path)

    assert loaded.backup.metadata.name == "shop"
    assert loaded.storage.backup_locations[0].storage_bucket == "backups"
    assert loaded.cluster_id is None
    assert loaded.resolve(REFERENCE) == Secret("canary-password")


@pytest.mark.parametrize(
    "documents",
    [[], [a_backup_manifest()], [a_class()], [a_class(), a_class()], ["a", "b"], [[], {}]],
)
def test_one_file_needs_one_object_of_each_kind(tmp_path: Path, documents: list[object]) -> None:
    with pytest.raises(InvalidSpec) as refused:
        config.load(a_file(tmp_path, *documents))

    assert str(refused.value) == (
        "shop.yaml: must hold one DatabaseBackup and one DatabaseBackupStorageClass,"
        " separated by a line with ---"
    )


def test_problems_of_all_files_come_in_one_error(tmp_path: Path) -> None:
    folder = a_folder(
        tmp_path,
        backup=a_backup_manifest(retention={"keepDaily": 0}, timeZone="Nowhere"),
        storage={"backupLocations": [a_location_manifest(storageBucket=None)]},
        cluster="no id/",
    )

    with pytest.raises(InvalidSpec) as refused:
        config.load(folder)

    assert refused.value.exit_code == 78
    assert [str(problem) for problem in refused.value.problems] == [
        "spec.retention.keepDaily: must be >= 1",
        'spec.timeZone: must be a name of the IANA database, such as "Europe/Berlin"',
        "storageSpec.yaml: backupLocations[0].storageBucket: is required for storageType s3",
        "cluster: must hold the cluster's id: 1 to 64 letters, digits and -",
    ]


def test_problems_of_one_file_tell_the_kinds_apart(tmp_path: Path) -> None:
    backup = a_backup_manifest(timeout=1) | {"metadata": {"namespace": "db"}}
    storage = a_class(a_location_manifest(storageType="ftp")) | {"metadata": {}}

    with pytest.raises(InvalidSpec) as refused:
        config.load(a_file(tmp_path, backup, storage))

    assert [problem.path for problem in refused.value.problems] == [
        "metadata.name",
        "spec.timeout",
        "DatabaseBackupStorageClass: metadata.name",
        "DatabaseBackupStorageClass: spec.backupLocations[0].storageType",
    ]


def test_absent_and_broken_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "storageSpec.yaml").write_text("a: 1\na: canary")

    with pytest.raises(InvalidSpec) as refused:
        config.load(tmp_path)

    assert [str(problem) for problem in refused.value.problems] == [
        "backup.yaml: there is no such file",
        "storageSpec.yaml: line 2, column 1: this key is there twice",
    ]


@pytest.mark.parametrize(("text", "count"), [("", 0), ("a: 1\n---\na: 1", 2)])
def test_a_file_of_the_folder_is_one_document(tmp_path: Path, text: str, count: int) -> None:
    folder = a_folder(tmp_path)
    (folder / "backup.yaml").write_text(text)

    with pytest.raises(InvalidSpec, match=f"backup.yaml: must hold one document, not {count}"):
        config.load(folder)


def test_unknown_fields_are_warnings_by_name(tmp_path: Path) -> None:
    folder = a_folder(
        tmp_path,
        backup=a_backup_manifest(suspnd=True),
        storage={"backupLocations": [a_location_manifest(region="eu")]},
    )

    assert config.load(folder).warnings == (
        "spec.suspnd: unknown field, ignored; did you mean suspend?",
        "storageSpec.yaml: backupLocations[0].region: unknown field, ignored",
    )


def test_unknown_fields_are_told_beside_what_is_wrong(tmp_path: Path) -> None:
    folder = a_folder(
        tmp_path,
        backup=a_backup_manifest(suspnd=True, timeZone="Mars/Base"),
        storage={"backupLocations": [a_location_manifest(region="eu", storageBucket=None)]},
    )

    with pytest.raises(InvalidSpec) as refused:
        config.load(folder)

    assert {problem.path for problem in refused.value.problems} == {
        "spec.timeZone",
        "storageSpec.yaml: backupLocations[0].storageBucket",
    }
    assert refused.value.warnings == (
        "spec.suspnd: unknown field, ignored; did you mean suspend?",
        "storageSpec.yaml: backupLocations[0].region: unknown field, ignored",
    )


def test_the_status_in_the_file_is_passed_over(tmp_path: Path) -> None:
    folder = a_folder(tmp_path, backup=a_backup_manifest() | {"status": {"storedBackups": "?"}})

    assert config.load(folder).backup.status == v1.DatabaseBackupStatus()


# -- secrets -----------------------------------------------------------------


def test_a_secret_is_read_late_so_that_a_rotated_one_counts(tmp_path: Path) -> None:
    folder = a_folder(tmp_path, secrets={})
    loaded = config.load(folder)

    with pytest.raises(DependencyMissing, match=r"secrets/shop-db/password"):
        loaded.resolve(REFERENCE)
    for text in ("first-canary", "second-canary"):
        a_config_folder(folder, secrets={"shop-db/password": text})
        assert loaded.resolve(REFERENCE) == Secret(text)

    assert loaded.redactions() == {"first-canary", "second-canary"}


@pytest.mark.parametrize(
    ("written", "meant"),
    [("a\n", "a"), ("a\n\n", "a\n"), ("a", "a"), (" a ", " a "), ("a\r\n", "a\r")],
)
def test_one_newline_at_the_end_of_a_secret_is_dropped(
    tmp_path: Path, written: str, meant: str
) -> None:
    folder = a_folder(tmp_path)
    (folder / "secrets" / "shop-db" / "password").write_bytes(written.encode())

    assert config.load(folder).resolve(REFERENCE).reveal() == meant


@pytest.mark.parametrize("raw", [b"", b"\n", b"canary\xff", b"x" * (1 << 20) + b"x"])
def test_an_empty_or_unreadable_secret_is_an_error(tmp_path: Path, raw: bytes) -> None:
    folder = a_folder(tmp_path)
    (folder / "secrets" / "shop-db" / "password").write_bytes(raw)
    loaded = config.load(folder)

    with pytest.raises(InvalidSpec) as refused:
        loaded.resolve(REFERENCE)

    assert "secrets/shop-db/password" in str(refused.value)
    assert "canary" not in str(refused.value)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


def test_an_empty_encryption_pass_is_an_error_not_a_plain_backup(tmp_path: Path) -> None:
    passphrase = {"encryptionPass": {"fromSecret": {"name": "class", "key": "pass"}}}
    folder = a_folder(
        tmp_path,
        storage={"backupLocations": [a_location_manifest(**passphrase)]},
        secrets={"class/pass": "\n"},
    )
    loaded = config.load(folder)

    with pytest.raises(InvalidSpec, match="empty"):
        loaded.resolve(loaded.storage.backup_locations[0].encryption_pass)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file; run as a plain user")
def test_a_secret_without_permission_is_access_denied(tmp_path: Path) -> None:
    folder = a_folder(tmp_path)
    (folder / "secrets" / "shop-db" / "password").chmod(0)
    loaded = config.load(folder)

    with pytest.raises(AccessDenied, match="secrets/shop-db/password"):
        loaded.resolve(REFERENCE)


def test_redactions_hold_every_secret_that_is_known_after_loading(tmp_path: Path) -> None:
    folder = a_folder(
        tmp_path,
        storage={
            "backupLocations": [
                a_location_manifest(
                    encryptionPass={"value": "canary-pass"},
                    previousEncryptionPasses=[{"value": "canary-old"}],
                )
            ]
        },
    )

    assert config.load(folder).redactions() == {
        "canary-password",
        "canary-pass",
        "canary-old",
        "an-access-key",
        "a-secret-key",
    }


def test_the_name_of_a_user_is_told_wherever_it_lies(tmp_path: Path) -> None:
    """A GRANT without the name that it is for cures nothing."""
    section = {"database": "shop", "host": "db"}
    by_value = {"value": "backup"}
    by_reference = {"fromSecret": {"name": "shop-db", "key": "user"}}
    password = {"value": "canary-password"}
    for number, user in enumerate((by_value, by_reference)):
        backup = a_backup_manifest(
            databaseType="mysql", postgres=None, mysql=section | {"user": user, "pass": password}
        )
        folder = tmp_path / str(number)
        folder.mkdir()
        folder = a_folder(folder, backup=backup, secrets={"shop-db/user": "backup"})
        loaded = config.load(folder)

        mysql = loaded.backup.spec.mysql
        assert mysql is not None
        assert loaded.resolve(mysql.user) == Secret("backup")
        assert "canary-password" in loaded.redactions()
        assert "backup" not in loaded.redactions()


def test_no_secret_is_in_the_texts_of_a_configuration(tmp_path: Path) -> None:
    folder = a_folder(
        tmp_path,
        storage={"backupLocations": [a_location_manifest(encryptionPass={"value": "canary-pass"})]},
    )
    loaded = config.load(folder)
    loaded.resolve(REFERENCE)

    assert "canary" not in f"{loaded} {loaded!r} {loaded.storage!s} {loaded.warnings}"


# -- digest ------------------------------------------------------------------


def test_digest_changes_with_every_part_and_with_nothing_else(tmp_path: Path) -> None:
    folder = a_folder(tmp_path)
    first = config.load(folder).digest()
    seen = {first}

    assert config.load(folder).digest() == first
    (folder / "other").write_text("not ours")
    (folder / "secrets" / "other").write_text("not ours")
    assert config.load(folder).digest() == first

    changes: list[dict[str, Any]] = [
        {"backup": a_backup_manifest(postgres=POSTGRES, suspend=True)},
        {"storage": {"backupLocations": [{"storageType": "filesystem", "path": "/x"}]}},
        {"cluster": "another"},
        {"secrets": {"shop-db/password": "rotated"}},
    ]
    for change in changes:
        seen.add(config.load(a_folder(tmp_path, **change)).digest())
        a_folder(tmp_path)
    (folder / "secrets" / "shop-db" / "password").unlink()
    seen.add(config.load(folder).digest())

    assert len(seen) == len(changes) + 2
    assert all(len(digest) == 32 for digest in seen)


# -- the kubelet -------------------------------------------------------------


def test_files_of_one_publication_are_read_together(tmp_path: Path) -> None:
    """A volume's files are links into a folder that the kubelet swaps."""
    folder = tmp_path / "mounted"
    published = a_folder(tmp_path)
    folder.mkdir()
    published.rename(folder / "..2024_01")
    (folder / "..data").symlink_to("..2024_01")
    for name in ("backup.yaml", "storageSpec.yaml", "cluster"):
        (folder / name).symlink_to(Path("..data") / name)
    (folder / "secrets").symlink_to(Path("..data") / "secrets")

    loaded = config.load(folder)

    assert loaded.backup.metadata.name == "shop"
    assert loaded.resolve(REFERENCE) == Secret("canary-password")


def test_the_idle_parents_imports_are_small() -> None:
    """The whole idle runner may take 50 MiB; these are the largest share of its imports."""
    script = (
        "import controller.process.logging, runner.config, sys;"
        "print([l.split()[1] for l in open('/proc/self/status') if l.startswith('VmRSS')][0],"
        " *(m for m in ('cryptography', 'boto3', 'pydantic', 'difflib') if m in sys.modules))"
    )

    words = subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
    ).stdout.split()

    assert len(words) == 1, words
    assert int(words[0]) < 36 * 1024
