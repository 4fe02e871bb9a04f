"""The custom resource definitions on a real API server: what it takes, and refuses, and where."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from controller.api import codec, v1
from controller.api.durations import format_duration
from controller.api.errors import InvalidSpec
from controller.process.documents import read_documents
from tests import strategies
from tests.bad_manifests import CODEC_ALONE, bad_manifests
from tests.builders import a_backup_manifest, a_class_manifest, a_location_manifest
from tests.integration.kube import definitions
from tests.integration.kube.definitions import create
from tests.servers.kubernetes import Answer, KubernetesServer

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
SECRET = {"value": "a-secret"}
REF = {"fromSecret": {"name": "s", "key": "k"}}
#: A real server is asked for each example.
asked = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def server(kubernetes_server: KubernetesServer) -> KubernetesServer:
    definitions.install(kubernetes_server)
    return kubernetes_server


@pytest.fixture(scope="module")
def namespace(server: KubernetesServer) -> str:
    """One for all: almost nothing here is stored."""
    return server.new_namespace()


def test_both_definitions_are_established_and_structural(
    kubernetes_server: KubernetesServer,
) -> None:
    found = definitions.install(kubernetes_server)

    assert set(found) == {
        "databasebackups.backup.nect.com",
        "databasebackupstorageclasses.backup.nect.com",
    }
    for conditions in found.values():
        assert conditions["NamesAccepted"]["status"] == "True"
        assert "NonStructuralSchema" not in conditions


#: An integer for the schema, but not for the rule that reads it, which is of the spec.
A_FLOAT = a_backup_manifest(backupInterval=6.0)

# -- refused -----------------------------------------------------------------

UNKNOWN: list[tuple[dict[str, Any], str]] = [
    (a_backup_manifest(backupIntervall=6), "spec.backupIntervall"),
    (a_backup_manifest(retention={"keepDaily": 7, "keepFortnightly": 1}), "spec.retention.keepFo"),
    (a_backup_manifest(runner={"image": "mine"}), "spec.runner.image"),
    (a_backup_manifest(postgres={"password": SECRET}), "spec.postgres.password"),
    (a_backup_manifest() | {"specs": {}}, "specs"),
    (a_class_manifest(locations=[]), "spec.locations"),
    (
        a_class_manifest(backupLocations=[a_location_manifest(bucket="abc")]),
        "spec.backupLocations[0].bucket",
    ),
]


def refused_at(answer: Answer) -> list[str]:
    """The paths of a refusal, as the codec writes them."""
    causes = (answer.body.get("details") or {}).get("causes", ())
    paths = [cause["field"] for cause in causes if "field" in cause]
    # An object where a text belongs: its fields are unknown before its type is wrong.
    unknown = re.findall('unknown field "(.*?)"', answer.body["message"])
    paths += [path.rpartition(".")[0] for path in unknown]
    # The schema writes a map's key after a dot, a rule in brackets.
    return [re.sub(r"(retentionConfig)[.[](.*?)\]?$", r'\1["\2"]', path) for path in paths]


@pytest.mark.parametrize(("manifest", "path"), list(bad_manifests()))
def test_a_bad_manifest_is_refused_with_its_field(
    server: KubernetesServer, namespace: str, manifest: dict[str, Any], path: str | None
) -> None:
    answer = create(server, namespace, manifest)

    assert answer.status in {400, 422}, answer.body
    if manifest == A_FLOAT:
        path = "spec"
    assert path is None or any(_is_about(at, path) for at in refused_at(answer)), answer.body
    assert "canary-secret" not in answer.body["message"]


def _is_about(told: str, path: str) -> bool:
    """A rule of a list tells the list, and one of a map's keys the map."""
    return path == told or (told.count(".") > 0 and re.match(re.escape(told) + r"[\[.]", path))


@pytest.mark.parametrize(("manifest", "path"), UNKNOWN)
def test_an_unknown_field_is_refused_with_its_path(
    server: KubernetesServer, namespace: str, manifest: dict[str, Any], path: str
) -> None:
    answer = create(server, namespace, manifest)

    assert answer.status == 400, answer.body
    assert f'unknown field "{path}' in answer.body["message"]


def test_there_are_enough_of_them() -> None:
    assert len(list(bad_manifests())) + len(UNKNOWN) > 200


@pytest.mark.parametrize("change", CODEC_ALONE, ids=str)
def test_what_only_the_codec_sees_is_taken(
    server: KubernetesServer, namespace: str, change: dict[str, Any]
) -> None:
    assert create(server, namespace, a_backup_manifest(**change)).status == 201


# -- taken -------------------------------------------------------------------


def documents() -> Iterator[Any]:
    for path in sorted(EXAMPLES.glob("*.yaml")):
        for number, document in enumerate(read_documents(path.read_bytes())):
            if document["apiVersion"] == v1.API_VERSION:
                yield pytest.param(document, id=f"{path.name}[{number}]")


@pytest.mark.parametrize("document", list(documents()))
def test_an_example_is_taken(
    server: KubernetesServer, namespace: str, document: dict[str, Any]
) -> None:
    answer = create(server, namespace, document)

    assert answer.status == 201, answer.body


COMMON = {
    "databaseVersion": "16",
    "backupCron": "0 3 * * *",
    "backupInterval": 2,
    "retentionConfig": {
        "%Y-%m": 32140800000000000,
        "%Y-w%V": 2678400000000000,
        "%Y-%m-%d": 604800000000000,
        "%Y-%m-%dT%H": 86400000000000,
        "%Y-%m-%dT%H-%M-%S": 3600000000000,
    },
    "useSingleBackupTarget": True,
}


@pytest.mark.parametrize(
    ("engine", "section"),
    [
        (
            "cockroach",
            {"cert": REF, "certCA": SECRET, "certCAFromCluster": True, "certKey": REF}
            | {"database": "shop", "host": "db", "port": 26257, "user": "root"},
        ),
        ("mysql", {"database": "shop", "host": "db", "port": 3306, "user": REF, "pass": SECRET}),
        (
            "postgres",
            {"database": "shop", "host": "db", "port": 5432, "user": "u"}
            | {"pass": {"value": "", **REF}},
        ),
    ],
)
def test_every_field_of_the_go_original_is_taken_and_kept(
    server: KubernetesServer, namespace: str, engine: str, section: dict[str, Any]
) -> None:
    sections = {"postgres": None} | {engine: section}
    manifest = a_backup_manifest(databaseType=engine, **sections, **COMMON)

    answer = create(server, namespace, manifest)

    assert answer.status == 201, answer.body
    kept = answer.body["spec"]
    assert kept[engine].items() >= section.items()  # with our defaults beside it
    assert {name: kept[name] for name in COMMON} == COMMON
    ours = codec.decode(v1.DatabaseBackup, manifest)
    assert codec.decode(v1.DatabaseBackup, answer.body).spec == ours.spec


def test_a_status_of_the_go_original_survives_a_write_of_ours(
    server: KubernetesServer, namespace: str
) -> None:
    made = create(server, namespace, a_backup_manifest(), query="fieldValidation=Strict").body
    name = made["metadata"]["name"]
    path = f"/apis/backup.nect.com/v1/namespaces/{namespace}/databasebackups/{name}"
    condition = {
        "type": "db-backup.nect.com/stsExists",
        "status": "True",
        "reason": "createSts",
        "message": "",
        "lastTransitionTime": "2024-08-05T00:00:00Z",
    }
    made["status"] = {"hash": "0badc0de", "conditions": [condition]}
    assert server.request("PUT", f"{path}/status", made).status == 200

    stored = server.request("GET", path).body
    backup = codec.decode(v1.DatabaseBackup, stored)
    stored["status"] = codec.encode(backup.status) | {"storedBackups": 3}
    assert server.request("PUT", f"{path}/status", stored).status == 200

    status = server.request("GET", path).body["status"]
    assert status["hash"] == "0badc0de"
    assert status["conditions"][0].items() >= (condition.items() - {("message", "")})


def test_stored_defaults_decode_to_the_same(server: KubernetesServer, namespace: str) -> None:
    manifest = a_backup_manifest(retention={"keepLast": 3}, compression={}, runner={})

    stored = create(server, namespace, manifest).body

    assert stored["spec"]["postgres"]["port"] == 5432
    assert stored["spec"]["retention"] == {"keepLast": 3, "minimumKeep": 3}
    assert "timeout" not in stored["spec"]
    assert (stored["spec"]["compression"], stored["spec"]["runner"]) == ({}, {})
    ours = codec.decode(v1.DatabaseBackup, manifest)
    assert codec.decode(v1.DatabaseBackup, stored).spec == ours.spec


def test_a_null_is_a_field_left_out(server: KubernetesServer, namespace: str) -> None:
    manifest = a_backup_manifest()
    manifest["spec"] |= {"retention": None, "backupCron": None, "timeZone": None}

    stored = create(server, namespace, manifest)

    assert stored.status == 201, stored.body
    assert stored.body["spec"]["timeZone"] == "UTC"
    assert "retention" not in stored.body["spec"]


# -- both say the same -------------------------------------------------------


def assert_same_verdict(server: KubernetesServer, namespace: str, manifest: dict[str, Any]) -> None:
    kind = {one.KIND: one for one in (v1.DatabaseBackup, v1.DatabaseBackupStorageClass)}
    try:
        codec.decode(kind[manifest["kind"]], manifest)
        problem = None
    except InvalidSpec as refused:
        problem = str(refused)

    answer = create(server, namespace, manifest)

    verdict = answer.body.get("message") if answer.status == 422 else None
    assert (problem is None) == (verdict is None), (problem, verdict, answer.status)


@given(backup=strategies.backups)
@asked
def test_every_backup_that_can_be_made_is_taken(
    server: KubernetesServer, namespace: str, backup: v1.DatabaseBackup
) -> None:
    manifest = codec.encode(backup, reveal_secrets=True)

    answer = create(server, namespace, manifest)

    assert answer.status == 201, answer.body


@given(spec=strategies.storage_class_specs())
@asked
def test_every_class_that_can_be_made_is_taken(
    server: KubernetesServer, namespace: str, spec: v1.StorageClassSpec
) -> None:
    kind = v1.DatabaseBackupStorageClass(metadata=v1.ObjectMeta(name="standard"), spec=spec)

    answer = create(server, namespace, codec.encode(kind, reveal_secrets=True))

    assert answer.status == 201, answer.body


def _some(**fields: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Any of these fields with any of their values."""
    return st.fixed_dictionaries(
        {}, optional={name: st.sampled_from(values) for name, values in fields.items()}
    )


secrets = [SECRET, REF, {"value": ""}, {"value": "", **REF}, {}]
locations = st.builds(
    dict.__or__,
    st.fixed_dictionaries({"storageType": st.sampled_from(["s3", "minio", "gcs", "filesystem"])}),
    _some(
        storageBucket=["abc", ""],
        storageEndpoint=["e:9000", ""],
        storageAccessKeyID=secrets,
        storageSecretAccessKey=secrets,
        storageUseSSL=[True, False],
        storagePrefix=["a", "/a", "a/", "/a/", "", "b"],
        forcePathStyle=[True, False],
        gcsCredentials=secrets,
        claimName=["c", ""],
        path=["/a", "/a/", "a", "/", ""],
        encryptionPass=secrets,
        encryptionRecipients=[[], ["age1" + "q" * 58]],
        name=["one", "two"],
    ),
)


@given(found=st.lists(locations, min_size=1, max_size=3), least=st.none() | st.integers(0, 4))
@asked
def test_codec_and_server_agree_on_what_crosses_fields_of_a_class(
    server: KubernetesServer, namespace: str, found: list[dict[str, Any]], least: int | None
) -> None:
    manifest = a_class_manifest(backupLocations=found, minSuccessfulLocations=least)

    assert_same_verdict(server, namespace, manifest)


@given(
    left_out=st.sets(st.sampled_from(["postgres", "backupInterval"])),
    spec=_some(
        databaseType=["postgres", "mysql", "cockroach"],
        mysql=[{"database": "a", "host": "b", "user": REF}],
        cockroach=[{"database": "a", "host": "b"}],
        backupCron=["", "0 3 * * *"],
        suspend=[True, False],
        retention=[{}, {"keepLast": 1}, {"minimumKeep": 1}],
        retentionConfig=[{"%Y": 1}, {"%Y": "7d"}],
        useSingleBackupTarget=[True, False],
    ),
    postgres=_some(
        sslMode=["disable", "require"], sslCert=secrets, sslKey=secrets, sslRootCert=secrets
    ),
)
@asked
def test_codec_and_server_agree_on_what_crosses_fields_of_a_backup(
    server: KubernetesServer,
    namespace: str,
    left_out: set[str],
    spec: dict[str, Any],
    postgres: dict[str, Any],
) -> None:
    manifest = a_backup_manifest(**spec)
    manifest["spec"]["postgres"] |= postgres
    for name in left_out:
        del manifest["spec"][name]

    assert_same_verdict(server, namespace, manifest)


numbers = st.sampled_from(["0", "1", "7", "59", "60", "366", "8784", ".5", "1.", "0.25", "999"])
units = st.sampled_from(["us", "µs", "ms", "s", "m", "h", "d", "w", "x", ""])
# Nothing below a microsecond: the codec cuts it off, the server counts it.
terms = st.tuples(numbers, units).filter(lambda it: "." not in it[0] or it[1] not in {"us", "µs"})
durations = st.lists(terms.map("".join), max_size=3).map("".join)
_YEAR = timedelta(days=366)


@given(
    text=durations
    | st.timedeltas(timedelta(0), 101 * _YEAR).map(format_duration)
    | st.sampled_from(["1s", "1000ms", "0.4s600ms", "8784h", "366d", "52w2d", "52w49h"])
)
@asked
def test_codec_and_server_agree_on_durations(
    server: KubernetesServer, namespace: str, text: str
) -> None:
    for field in (
        {"timeout": text},
        {"retention": {"keepWithin": text}},
        {"retentionConfig": {"%Y": text}},
    ):
        assert_same_verdict(server, namespace, a_backup_manifest(**field))
