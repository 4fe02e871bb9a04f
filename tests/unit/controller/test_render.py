"""`controller render`: the children of what is in files."""

from __future__ import annotations

import base64
import copy
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller import cli
from controller.api.names import child_name
from controller.api.passphrase import derive_passphrase
from controller.api.secrets import Secret
from tests.builders import a_backup_manifest, a_class_manifest
from tests.unit.resources.samples import A_CLASS, SECRETS

NAME = child_name("db", "shop")
EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"


def a_secret(name: str, *, namespace: str = "db-backup-controller") -> dict[str, Any]:
    texts = {
        ref.partition("/")[2]: text for ref, text in SECRETS.items() if ref.startswith(name + "/")
    }
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": texts}


def a_file(folder: Path, *documents: Any, name: str = "all.yaml") -> str:
    (folder / name).write_text(yaml.safe_dump_all(documents))
    return str(folder / name)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as done:
        cli.main(["render", *arguments])
    code: int = done.value.code  # type: ignore[assignment]
    return code


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    return {one["kind"]: one for one in yaml.safe_load_all(capsys.readouterr().out)}


def test_every_child_is_printed_with_its_secrets_redacted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No Secret is there: a review has none."""
    backup = a_backup_manifest()
    backup["spec"]["postgres"]["pass"] = {"value": "canary-password"}
    raw_class = copy.deepcopy(A_CLASS)
    raw_class["spec"]["shareEncryptionPass"] = True
    raw_class["spec"]["backupLocations"][1] |= {"encryptionPass": {"value": "canary-pass"}}

    assert run(a_file(tmp_path, backup, raw_class)) == 0

    text = capsys.readouterr().out
    kinds = [one["kind"] for one in yaml.safe_load_all(text)]
    assert kinds == [
        "Secret",
        "ServiceAccount",
        "Role",
        "RoleBinding",
        "Lease",
        "NetworkPolicy",
        "Deployment",
    ]
    assert "canary" not in text
    assert base64.b64encode(b"canary").decode()[:7] not in text
    assert "storageSecretAccessKey:\n        value: <redacted>" in text
    assert "databaseType: postgres" in text
    for child in yaml.safe_load_all(text):
        assert "data" not in child


def test_revealed_secrets_are_what_a_runner_gets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = (
        a_file(tmp_path, a_backup_manifest(), A_CLASS, a_secret("bucket")),
        a_file(tmp_path, a_secret("encryption"), {"kind": "ConfigMap"}, name="more.yaml"),
    )

    assert run("--reveal-secrets", *files) == 0

    data = printed(capsys)["Secret"]["data"]
    storage = yaml.safe_load(base64.b64decode(data["storageSpec.yaml"]))
    own = derive_passphrase(Secret("the class's passphrase"), namespace="db", name="shop")
    assert storage["backupLocations"][0]["encryptionPass"] == {"value": own.reveal()}


def test_data_in_base64_is_read_as_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bucket = a_secret("bucket", namespace="backups")
    texts = bucket.pop("stringData")
    bucket["data"] = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
    encryption = a_secret("encryption")
    del encryption["metadata"]["namespace"]
    file = a_file(tmp_path, a_backup_manifest(), A_CLASS, bucket, encryption)

    assert run("--reveal-secrets", "--namespace", "backups", file) == 0
    assert (
        "the-secret-key"
        in base64.b64decode(printed(capsys)["Secret"]["data"]["storageSpec.yaml"]).decode()
    )


def test_settings_are_those_of_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGE_PREFIX", "registry.example.com/r")
    file = a_file(tmp_path, a_backup_manifest(), a_class_manifest())

    assert run("--cluster-id", "abc", file) == 0

    children = printed(capsys)
    assert children["Secret"]["stringData"]["cluster"] == "abc\n"
    (container,) = children["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["image"].startswith("registry.example.com/r-postgres:18-")


def test_a_file_for_each_is_for_its_owner_alone(tmp_path: Path) -> None:
    file = a_file(tmp_path, a_backup_manifest(), a_class_manifest())

    assert run(file, "-o", str(tmp_path / "out")) == 0
    assert run(file, "-o", str(tmp_path / "out")) == 0

    names = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "out").iterdir()}
    assert set(names.values()) == {0o600}
    assert f"deployment-{NAME}.yaml" in names
    assert len(names) == 7


def test_the_documented_examples_render(capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(EXAMPLES / f"{name}.yaml") for name in ("every-storage", "every-field")]

    assert run(*files) == 0
    assert printed(capsys)["Deployment"]["metadata"]["namespace"] == "webshop"


def test_the_documented_secrets_are_those_of_the_documented_class(
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = ("storage-class", "database-backup", "secrets")

    assert run("--reveal-secrets", *(str(EXAMPLES / f"{name}.yaml") for name in names)) == 0

    config = printed(capsys)["Secret"]["data"]
    storage = yaml.safe_load(base64.b64decode(config["storageSpec.yaml"]))
    s3, gcs = storage["backupLocations"]
    assert s3["storageSecretAccessKey"] == {"value": "change-me-too"}
    assert gcs["gcsCredentials"] == {"value": '{"type": "service_account"}'}
    derived = derive_passphrase(Secret("change-me-three"), namespace="webshop", name="shop")
    assert s3["encryptionPass"] == gcs["encryptionPass"] == {"value": derived.reveal()}


NO_CLASS = "FILE: spec.backupStorageClass: there is no DatabaseBackupStorageClass standard in these"
NOT_ALLOWED = (
    "FILE[0]: the storage class standard is not for namespace db: name another one, or have the "
    "namespace added to its spec.allowedNamespaces"
)
NO_SECRET = "FILE[0]: there is no Secret db-backup-controller/bucket with the key id in these files"
TWO = (
    "FILE[0]: spec.backupInterval: must be >= 1\n"
    "       FILE[1]: spec.backupLocations: must have 1 to 16 entries"
)
BAD: list[tuple[list[Any], str]] = [
    ([a_backup_manifest(backupInterval=0), a_class_manifest(backupLocations=[])], TWO),
    ([a_class_manifest()], "there is no DatabaseBackup in these files"),
    ([a_backup_manifest()], NO_CLASS + " files"),
    (
        [a_backup_manifest(databaseVersion="9"), a_class_manifest()],
        "FILE[0]: spec.databaseVersion: must be a major of 11, 12, 13, 14, 15, 16, 17, 18",
    ),
    ([a_backup_manifest(), a_class_manifest(allowedNamespaces=["web"])], NOT_ALLOWED),
    ([a_backup_manifest(), A_CLASS, a_secret("bucket", namespace="other")], NO_SECRET),
    ([a_secret("bucket") | {"data": {"id": "%"}}], "FILE: data.id: must be UTF-8 text in base64"),
    (["text"], "FILE: must be an object"),
]


@pytest.mark.parametrize(("documents", "message"), BAD)
def test_a_mistake_is_told_by_its_file_and_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], documents: list[Any], message: str
) -> None:
    file = a_file(tmp_path, *documents)

    assert run("--reveal-secrets", file) in {75, 78}

    told = capsys.readouterr().err.replace(file, "FILE")
    assert told == f"error: {message}\n"


@pytest.mark.parametrize("again", [a_backup_manifest(), A_CLASS], ids=["backup", "class"])
def test_one_name_twice_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], again: dict[str, Any]
) -> None:
    """Which one counts would be a matter of the order of files."""
    first = a_file(tmp_path, a_backup_manifest(), A_CLASS)
    second = a_file(tmp_path, again, name="again.yaml")

    assert run(first, second) == 78

    said = capsys.readouterr().err
    assert f"{second}: metadata.name: there is a {again['kind']}" in said
    assert f"in {first}[" in said


def test_an_unknown_field_is_warned_about(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backup = a_backup_manifest()
    backup["spec"]["timeZoen"] = "Europe/Berlin"
    file = a_file(tmp_path, backup, A_CLASS)

    assert run(file) == 0

    assert f"warning: {file}[0]: spec.timeZoen: unknown field" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = a_file(tmp_path, a_backup_manifest(), A_CLASS)

    assert run("-o", f"{file}/below", file) == 64

    assert f"{file}/below: cannot be made: Not a directory" in capsys.readouterr().err


@pytest.mark.parametrize("option", [[], ["--reveal-secrets"]])
def test_credentials_for_the_images_are_a_child_and_shown_only_when_asked(
    option: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secrets = [a_secret("registry"), a_secret("bucket"), a_secret("encryption")]
    file = a_file(tmp_path, a_backup_manifest(), A_CLASS, *secrets)

    assert run(file, "--image-pull-secret", "registry", *option) == 0

    _, pull, *_ = yaml.safe_load_all(capsys.readouterr().out)
    assert pull["metadata"]["name"] == child_name("db", "shop", "pull")
    if option:
        assert base64.b64decode(pull["data"][".dockerconfigjson"]).decode() == '{"auths": {}}'
    else:
        assert pull["stringData"] == {".dockerconfigjson": "<redacted>"}
