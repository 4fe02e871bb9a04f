"""What docs/ shows works: manifests decode strictly and cover every field, commands run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import fields
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from controller.api import codec, v1
from controller.api.passphrase import derive_passphrase
from controller.api.rules import ENGINE_BLOCKS
from controller.api.secrets import Secret
from controller.api.wire import wire_name
from controller.process.documents import read_documents
from engines import registry
from runner import config
from runner.storage.registry import storage_types
from tests.builders import section_type

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "docs" / "examples"
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "requirements").glob("*.md")]
)
KINDS: Mapping[str, type] = {
    kind.KIND: kind for kind in (v1.DatabaseBackup, v1.DatabaseBackupStorageClass)
}


def documents(name: str = "*.yaml") -> Iterator[tuple[str, Any]]:
    for path in sorted(EXAMPLES.glob(name)):
        for number, document in enumerate(read_documents(path.read_bytes())):
            if document["kind"] in KINDS:
                yield f"{path.name}[{number}]", document


def spec_of(name: str, kind: type) -> Mapping[str, Any]:
    (found,) = [one for _, one in documents(name) if one["kind"] == kind.KIND]
    spec: Mapping[str, Any] = found["spec"]
    return spec


def wire_names(kind: type) -> set[str]:
    return {wire_name(field.name) for field in fields(kind)}


@pytest.mark.parametrize(
    ("name", "document"), [pytest.param(*one, id=one[0]) for one in documents()]
)
def test_an_example_decodes_without_a_warning(name: str, document: Any) -> None:
    kind = KINDS[document["kind"]]

    assert list(codec.unknown_fields(kind, document)) == []
    value = codec.decode(kind, document)

    assert codec.decode(kind, codec.encode(value, reveal_secrets=True)) == value


def test_every_example_s_engine_is_in_this_build() -> None:
    backups = [one for _, one in documents() if one["kind"] == v1.DatabaseBackup.KIND]

    assert backups
    assert {one["spec"]["databaseType"] for one in backups} <= set(registry.names())


def test_the_mission_s_class_is_one_s3_and_one_gcs_bucket() -> None:
    spec = codec.decode(
        v1.DatabaseBackupStorageClass, next(one for _, one in documents("storage-class.yaml"))
    ).spec

    assert [one.storage_type for one in spec.backup_locations] == [
        v1.StorageType.S3,
        v1.StorageType.GCS,
    ]
    assert all(one.encryption_pass for one in spec.backup_locations)


@pytest.mark.parametrize("engine", sorted(set(registry.names()) - {"postgres"}))
def test_every_field_of_an_engine_s_section_has_an_example(engine: str) -> None:
    spec = spec_of(f"{engine}.yaml", v1.DatabaseBackup)

    assert spec["databaseType"] == engine
    assert set(spec[engine]) == wire_names(section_type(engine))


def test_every_field_of_a_postgres_backup_has_an_example() -> None:
    spec = spec_of("every-field.yaml", v1.DatabaseBackup)

    # The interval and the labels exclude others; the Go original's manifest has them.
    elsewhere = {"backupInterval", "retentionConfig", "useSingleBackupTarget"}
    assert elsewhere <= set(spec_of("go-original.yaml", v1.DatabaseBackup))
    others = set(ENGINE_BLOCKS) - {"postgres"}
    assert set(spec) == wire_names(v1.DatabaseBackupSpec) - elsewhere - others
    assert set(spec["postgres"]) == wire_names(v1.PostgresSpec)
    assert set(spec["retention"]) == wire_names(v1.Retention)
    assert set(spec["compression"]) == wire_names(v1.Compression)
    assert set(spec["verification"]) == wire_names(v1.Verification)
    assert set(spec["runner"]) == wire_names(v1.RunnerOptions)


def test_every_storage_type_and_field_of_a_location_has_an_example() -> None:
    locations = [
        location
        for _, document in documents()
        if document["kind"] == v1.DatabaseBackupStorageClass.KIND
        for location in document["spec"]["backupLocations"]
    ]

    assert {one["storageType"] for one in locations} == {kind.value for kind in storage_types()}
    assert set().union(*locations) == wire_names(v1.BackupLocation)
    assert set(spec_of("every-storage.yaml", v1.DatabaseBackupStorageClass)) == wire_names(
        v1.StorageClassSpec
    )


def test_the_go_original_s_manifest_keeps_its_meaning() -> None:
    raw = {one["kind"]: one for _, one in documents("go-original.yaml")}
    backup = codec.decode(v1.DatabaseBackup, raw[v1.DatabaseBackup.KIND])

    assert backup.spec.backup_interval_hours == 2
    assert backup.spec.retention_config is not None
    assert {form: hold.days for form, hold in backup.spec.retention_config.items()} == {
        "%Y-%m": 12 * 31,
        "%Y-%m-%d": 7,
    }
    # What it leaves out is what a manifest with nothing but the required fields has.
    bare = codec.decode(v1.DatabaseBackup, next(one for _, one in documents("laptop.yaml"))).spec
    same = ("time_zone", "jitter_seconds", "timeout", "stall_timeout", "compression", "runner")
    for name in same:
        assert getattr(backup.spec, name) == getattr(bare, name)


def test_the_laptop_s_file_is_a_configuration(tmp_path: Path) -> None:
    file = tmp_path / "laptop.yaml"
    file.write_bytes((EXAMPLES / "laptop.yaml").read_bytes())
    secret = tmp_path / "secrets" / "shop-db" / "password"
    secret.parent.mkdir(parents=True)
    secret.write_text("open sesame\n")

    loaded = config.load(file)

    assert loaded.warnings == ()
    assert loaded.cluster_id is None
    assert loaded.backup.spec.postgres is not None
    assert loaded.backup.spec.postgres.password is not None
    assert loaded.resolve(loaded.backup.spec.postgres.password).reveal() == "open sesame"


def test_the_readme_shows_the_examples_as_they_are() -> None:
    readme = (ROOT / "README.md").read_text()

    for name in ("storage-class.yaml", "database-backup.yaml"):
        text = (EXAMPLES / name).read_text()
        assert text[text.index("apiVersion") :] in readme


_OPENSSL_3 = shutil.which("openssl") and shutil.which("xxd") and shutil.which("basenc")


@pytest.mark.skipif(
    not _OPENSSL_3, reason="needs openssl, xxd, basenc: apt-get install openssl xxd"
)
def test_the_printed_openssl_lines_derive_the_passphrase(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "encryption.md").read_text()
    (lines,) = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    (tmp_path / "pass").write_text("Zürich ' correct horse")

    printed = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", lines],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "NAMESPACE": "webshop", "NAME": "shop.eu"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()

    derived = derive_passphrase(
        Secret("Zürich ' correct horse"), namespace="webshop", name="shop.eu"
    )
    assert derived.reveal() == printed
    command = [sys.executable, "-m", "controller.cli", "passphrase", "webshop", "shop.eu"]
    with (tmp_path / "pass").open("rb") as file:
        same = subprocess.run(command, stdin=file, capture_output=True, text=True, check=True)
    assert same.stdout.strip() == printed


@pytest.mark.skipif(not _OPENSSL_3, reason="needs openssl, xxd: apt-get install openssl xxd")
def test_the_printed_lines_open_a_backup_of_the_go_original(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "migration.md").read_text()
    (lines,) = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    passphrase, salt, dump = "Zürich ' correct horse", b"8 bytes.", b"CREATE DATABASE shop;\n" * 999
    kdf = PBKDF2HMAC(algorithm=SHA512(), length=48, salt=salt, iterations=300_000)
    derived = kdf.derive(passphrase.encode())
    encryptor = Cipher(algorithms.AES256(derived[:32]), modes.CTR(derived[32:])).encryptor()
    (tmp_path / "pass").write_text(passphrase)
    (tmp_path / "backup").write_bytes(b"DBCCrypt" + salt + encryptor.update(dump))

    subprocess.run(
        ["bash", "-euo", "pipefail", "-c", lines],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        check=True,
    )

    assert (tmp_path / "dump.sql").read_bytes() == dump


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", _without_code(page.read_text())):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in _anchors(linked), f"{page.name}: {target}"


def _without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def _anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to headings."""
    headings = re.findall(r"^#+ (.+)$", _without_code(page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
