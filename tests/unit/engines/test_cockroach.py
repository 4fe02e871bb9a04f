"""The parts of the CockroachDB engine that need no server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from hypothesis import given, strategies as st

from controller.api.errors import (
    AccessDenied,
    DatabaseUnavailable,
    DependencyMissing,
    InvalidSpec,
    NoKey,
    TruncatedBackup,
)
from controller.api.locations import BackupLocation, StorageType
from controller.api.secrets import Secret, SecretValue
from engines.cockroach import connection, locations, rights, statements, versions
from engines.cockroach.connection import ClusterFailed
from engines.cockroach.engine import CockroachEngine
from engines.cockroach.jobs import Job
from engines.cockroach.layers import layers_of
from engines.cockroach.rights import Rights
from engines.cockroach.versions import Version
from engines.external_store import Collection, ExternalStore
from engines.interface import InitOptions, StreamEngine
from tests.builders import a_cockroach, a_secret

AT = datetime(2026, 11, 26, 1, 2, 3, 456789, UTC)
NEW, OLD = Version(25, 4), Version(23, 1)


def refuse(_value: SecretValue) -> Secret:
    raise DependencyMissing("the controller reads no tenant's secrets")


def reveal(value: SecretValue) -> Secret:
    assert value.value is not None
    return value.value


def an_engine(*places: BackupLocation, version: str = "", **fields: object) -> CockroachEngine:
    engine = CockroachEngine()
    engine.init(
        InitOptions(
            namespace="n",
            name="x",
            spec=a_cockroach(**fields),
            resolve=refuse,
            environ={},
            version=version,
            locations=places,
        )
    )
    return engine


def a_bucket(**fields: object) -> BackupLocation:
    return BackupLocation(
        **{
            "storage_type": StorageType.S3,
            "storage_bucket": "backups",
            "storage_access_key_id": a_secret("KEY"),
            "storage_secret_access_key": a_secret("se/cr+et =&"),
        }
        | fields  # type: ignore[arg-type]
    )


def query_of(place: BackupLocation, version: Version = NEW) -> dict[str, str]:
    uri = locations.uri_of(Collection(location=place, folder="p/x/"), version, reveal).text
    return {key: value for key, (value,) in parse_qs(urlsplit(uri.reveal()).query).items()}


class TestInit:
    def test_it_stores_by_itself_and_moves_no_streams(self) -> None:
        assert isinstance(an_engine(), ExternalStore)
        assert not isinstance(an_engine(), StreamEngine)

    @pytest.mark.parametrize("version", ["", "23", "23.1", "v24.3.1", "26.4"])
    def test_one_image_is_for_every_version(self, version: str) -> None:
        pod = an_engine(version=version).pod_spec(image_prefix="registry/x", release="1.2.3")

        assert pod.image == "registry/x-cockroach:all-1.2.3"

    @pytest.mark.parametrize("version", ["22.2", "16", "latest", "24.", "23.1-beta"])
    def test_an_unknown_version_is_refused_by_path(self, version: str) -> None:
        with pytest.raises(InvalidSpec, match=r"spec\.databaseVersion"):
            an_engine(version=version)

    def test_half_a_certificate_is_refused_by_path(self) -> None:
        with pytest.raises(InvalidSpec, match=r"spec\.cockroach\.certKey"):
            an_engine(cert=a_secret())
        with pytest.raises(InvalidSpec, match=r"spec\.cockroach\.cert: "):
            an_engine(cert_key=a_secret())

    @pytest.mark.parametrize(
        ("place", "path"),
        [
            (
                BackupLocation(storage_type=StorageType.FILESYSTEM, path="/backups"),
                "backupLocations[1].storageType",
            ),
            (
                a_bucket(encryption_recipients=("age1" + "q" * 58,)),
                "backupLocations[1].encryptionRecipients",
            ),
            (
                a_bucket(
                    storage_endpoint="s3:9000",
                    storage_use_ssl=True,
                    storage_insecure_skip_verify=True,
                ),
                "backupLocations[1].storageInsecureSkipVerify",
            ),
            (
                BackupLocation(
                    storage_type=StorageType.GCS, storage_bucket="abc", storage_endpoint="g:1"
                ),
                "backupLocations[1].storageEndpoint",
            ),
            (a_bucket(encryption_pass=a_secret()), "backupLocations: not for cockroach"),
        ],
    )
    def test_a_location_that_the_cluster_cannot_reach_is_refused_by_path(
        self, place: BackupLocation, path: str
    ) -> None:
        """Also in the controller, which has no secret."""
        an_engine(a_bucket())
        with pytest.raises(InvalidSpec) as refused:
            an_engine(a_bucket(), place)

        assert path in str(refused.value)


class TestUris:
    def test_credentials_come_back_as_they_were(self) -> None:
        query = query_of(a_bucket(storage_location="eu-central-1"))

        assert query == {
            "AWS_ACCESS_KEY_ID": "KEY",
            "AWS_SECRET_ACCESS_KEY": "se/cr+et =&",
            "AWS_REGION": "eu-central-1",
        }

    def test_a_store_of_ones_own_is_named_with_its_scheme(self) -> None:
        place = a_bucket(storage_endpoint="minio:9000")

        assert query_of(place)["AWS_ENDPOINT"] == "http://minio:9000"
        assert query_of(place)["AWS_USE_PATH_STYLE"] == "true"
        assert "AWS_USE_PATH_STYLE" not in query_of(place, OLD)
        tls = a_bucket(storage_endpoint="minio:9000", storage_use_ssl=True)
        assert query_of(tls)["AWS_ENDPOINT"] == "https://minio:9000"

    @pytest.mark.parametrize(
        ("version", "says_it", "is_refused"),
        [
            (Version(24, 2, 30), False, False),
            (Version(24, 3, 2), False, True),
            (Version(24, 3, 3), True, False),
            (Version(25, 1, 0), True, False),
        ],
    )
    def test_path_style_is_asked_for_where_a_release_knows_it(
        self, version: Version, says_it: bool, is_refused: bool
    ) -> None:
        """Older series do so with every endpoint; the first three of 24.3 never do."""
        place = a_bucket(storage_endpoint="minio:9000")
        by_host = a_bucket(storage_endpoint="minio:9000", force_path_style=False)

        assert ("AWS_USE_PATH_STYLE" in query_of(place, version)) is says_it
        refused = [one.path for one in locations.problems_with([a_bucket(), place], version)]
        assert refused == (["backupLocations[1].forcePathStyle"] if is_refused else [])
        assert not list(locations.problems_with([a_bucket(), by_host], version))

    def test_without_keys_the_nodes_use_their_own_identity(self) -> None:
        place = a_bucket(storage_access_key_id=None, storage_secret_access_key=None)

        assert query_of(place) == {"AUTH": "implicit"}
        assert locations.needs_external_io([place])
        assert not locations.needs_external_io([a_bucket()])

    def test_a_service_account_s_key_is_base64(self) -> None:
        place = BackupLocation(
            storage_type=StorageType.GCS, storage_bucket="abc", gcs_credentials=a_secret('{"a": 1}')
        )

        assert query_of(place) == {"AUTH": "specified", "CREDENTIALS": "eyJhIjogMX0="}

    def test_a_job_s_description_names_its_folder(self) -> None:
        place = a_bucket()
        uri = locations.uri_of(Collection(location=place, folder="a b/_data/x1/"), NEW, reveal)
        parent = locations.place_of(place, "a b/_data/")

        job = Job(id=1, status="running", description=f"BACKUP INTO '{uri.text.reveal()}'")

        assert job.folder_below(parent) == "x1"
        assert job.folder_below(locations.place_of(place, "b/_data/")) == ""

    def test_every_form_of_a_secret_is_hidden(self) -> None:
        uri = locations.uri_of(Collection(location=a_bucket(), folder="x/"), NEW, reveal)
        text = uri.text.reveal()

        for secret in uri.secrets:
            text = text.replace(secret.reveal(), "")
        assert "se" not in text.replace("s3://backups", "").replace("SECRET", "")


class TestStatements:
    @given(st.text(min_size=1, max_size=30), st.booleans(), st.booleans())
    def test_what_is_secret_is_an_argument(self, secret: str, extend: bool, history: bool) -> None:
        """Placeholders only: whatever the secrets are, the text of the statement is the same."""

        def made(uri: str, key: str) -> list[str]:
            secrets = Secret(uri), Secret(key)
            return [
                statements.backup("d", *secrets, at=AT, extend=extend, history=history)[0],
                statements.restore("d", *secrets, at=AT, into=uri)[0],
                statements.show_backup(*secrets, check_files=extend)[0],
            ]

        assert made(secret, secret) == made("uri", "key")

    def test_a_name_with_a_percent_sign_is_no_placeholder(self) -> None:
        text, arguments = statements.backup(
            'a%s"', Secret("u"), None, at=AT, extend=False, history=True
        )

        assert text % tuple("X" for _ in arguments) == (
            'BACKUP DATABASE "a%s""" INTO X AS OF SYSTEM TIME \'2026-11-26 01:02:03.456789+00:00\''
            " WITH revision_history, detached"
        )


class TestRights:
    @given(
        st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef")), max_size=12),
        st.sampled_from("abcdef"),
    )
    def test_roles_of_roles_count(self, memberships: list[tuple[str, str]], user: str) -> None:
        """Against the definition: what can be reached over any number of memberships."""
        reached = {user}
        for _ in range(6):
            reached |= {role for role, member in memberships if member in reached}

        assert rights.closure(user, memberships) == reached

    def test_an_admin_lacks_nothing(self) -> None:
        admin = Rights(user="u", roles={"u", "admin"})

        assert not list(
            rights.missing_for_backup(admin, "d", frozenset(), owner="root", external_io=True)
        )
        assert not list(
            rights.missing_for_restore(admin, external_io=True, replaced=("d", "somebody"))
        )

    def test_each_missing_right_is_named_with_its_statement(self) -> None:
        mine = Rights(user='o"k', roles={'o"k'})

        backup = rights.missing_for_backup(
            mine, "d", frozenset({"CONNECT"}), owner="root", external_io=True
        )
        restore = rights.missing_for_restore(mine, external_io=False, replaced=("d", "boss"))

        assert [one.message.split(": ")[1] for one in backup] == [
            'GRANT BACKUP ON DATABASE "d" TO "o""k";',
            'GRANT SYSTEM EXTERNALIOIMPLICITACCESS TO "o""k";',
        ]
        assert [one.message.split(": ")[1] for one in restore] == [
            'GRANT SYSTEM RESTORE TO "o""k";',
            'ALTER USER "o""k" CREATEDB;',
            'GRANT "boss" TO "o""k";',
        ]

    def test_nobody_needs_to_be_root_for_a_database_of_root_s(self) -> None:
        mine = Rights(user="u", roles={"u"}, system={"RESTORE"}, options={"CREATEDB"})

        (problem,) = rights.missing_for_restore(mine, external_io=False, replaced=("d", "root"))

        assert problem.message.endswith('ALTER DATABASE "d" OWNER TO "u";')

    def test_whoever_owns_a_database_may_back_it_up(self) -> None:
        member = Rights(user="u", roles={"u", "owners"})

        assert not list(
            rights.missing_for_backup(member, "d", frozenset(), owner="owners", external_io=False)
        )

    @pytest.mark.parametrize("option", ["CONTROLJOB", "CREATEDB"])
    def test_an_option_may_be_a_privilege_too(self, option: str) -> None:
        by_option = Rights(user="u", roles={"u"}, options={option})
        by_privilege = Rights(user="u", roles={"u"}, system={option})

        assert by_option.has_option(option)
        assert by_privilege.has_option(option)

    def test_older_versions_want_a_right_to_end_a_job_of_one_s_own(self) -> None:
        """Else a paused job would lie on the cluster for ever."""
        mine = Rights(user="u", roles={"u"}, system={"RESTORE", "CREATEDB"}, ends_own_jobs=False)

        for found in (
            rights.missing_for_backup(
                mine, "d", frozenset({"BACKUP"}), owner="root", external_io=False
            ),
            rights.missing_for_restore(mine, external_io=False, replaced=None),
        ):
            (problem,) = found
            assert problem.message.endswith('ALTER USER "u" CONTROLJOB;')


class TestVersions:
    @pytest.mark.parametrize(
        ("text", "version"),
        [
            ("CockroachDB CCL v24.3.1 (x86_64-pc-linux-gnu, built 2024/12/16)", Version(24, 3)),
            ("CockroachDB CCL v26.1.0-alpha.1-dev", Version(26, 1)),
            ("v23.1.0", Version(23, 1)),
            ("25.4", Version(25, 4)),
        ],
    )
    def test_the_series_is_what_counts(self, text: str, version: Version) -> None:
        assert versions.version_of(text) == version

    def test_releases_of_a_series_are_neither_older_nor_newer(self) -> None:
        first, later = versions.version_of("v24.3.1"), versions.version_of("v24.3.17")

        assert first == later
        assert not first < later
        assert (first.exact, later.name) == ((24, 3, 1), "v24.3.17")

    @pytest.mark.parametrize(
        ("text", "cure"),
        [
            ("v23.2.5", ""),
            ("v24.1.0", "v24.1.22"),
            ("v24.1.21", "v24.1.22"),
            ("v24.1.22", ""),
            ("v24.2.11", "v24.3.17"),
            ("v24.3.16", "v24.3.17"),
            ("v24.3.17", ""),
            ("v25.1.9", "v25.1.10"),
            ("v25.2.3", "v25.2.4"),
            ("v25.2.10", ""),
            ("v25.3.0", ""),
        ],
    )
    def test_a_release_that_may_lose_data_is_told_with_its_cure(self, text: str, cure: str) -> None:
        told = list(versions.LOSES_DATA.told(versions.version_of(text)))

        assert [words.startswith(f"{text} ") for words in told] == ([True] if cure else [])
        assert all(words.endswith(f"151050): upgrade to {cure}") for words in told)

    @pytest.mark.parametrize(
        ("text", "has_it"),
        [("v23.1.0", True), ("v23.1.8", True), ("v23.1.9", False), ("v23.2.0", False)],
    )
    def test_a_release_that_restores_tables_wrongly_is_known(self, text: str, has_it: bool) -> None:
        assert versions.SPLITS_ROWS.is_in(versions.version_of(text)) is has_it

    @pytest.mark.parametrize("text", ["", "PostgreSQL 16.14", "x86_64", "v2.1.3"])
    def test_something_else_is_no_version(self, text: str) -> None:
        with pytest.raises(ValueError, match="not a version"):
            versions.version_of(text)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("failed to decrypt: cipher: message authentication failed", NoKey),
        ("file appears encrypted -- try specifying one of encryption_passphrase or kms", NoKey),
        ("The following files are missing from the backup:\n\ts3://b/x.sst", TruncatedBackup),
        ("Error checking metadata file s3://b/x/BACKUP_MANIFEST-CHECKSUM", TruncatedBackup),
    ],
)
def test_what_the_cluster_says_is_one_of_our_errors(said: str, kind: type) -> None:
    assert type(connection.classified(said)) is kind


@pytest.mark.parametrize(
    ("state", "said", "kind"),
    [
        ("58030", "failed to list s3 bucket: AccessDenied: Access Denied", ClusterFailed),
        ("58030", "failed to list s3 bucket: NoSuchBucket", ClusterFailed),
        ("58P01", "path does not contain a completed latest backup: x", TruncatedBackup),
        ("58C00", "replica unavailable", DatabaseUnavailable),
        ("58C01", "no inbound stream connection", DatabaseUnavailable),
        ("57P01", "server is shutting down", DatabaseUnavailable),
        ("42501", "user x does not have BACKUP privilege", AccessDenied),
        ("XXUUU", "unknown S3 query parameters: X", ClusterFailed),
    ],
)
def test_a_state_tells_a_bucket_s_fault_from_the_cluster_s(
    state: str, said: str, kind: type
) -> None:
    error = psycopg.DatabaseError(said)
    error.sqlstate = state

    assert type(connection.our_error(error, "while looking")) is kind


def test_a_lost_connection_is_the_cluster_s_fault() -> None:
    lost = psycopg.OperationalError("server closed the connection unexpectedly")

    assert type(connection.our_error(lost, "while looking")) is DatabaseUnavailable


def test_layers_are_put_together_from_rows_in_any_order() -> None:
    """Older versions give times without a zone."""
    first, second = AT.replace(tzinfo=None), AT + timedelta(minutes=1)
    rows = [
        {"object_type": "table", "start_time": first, "end_time": second, "size_bytes": 5},
        {"object_type": "table", "start_time": None, "end_time": first, "size_bytes": 7},
        {"object_type": "database", "start_time": None, "end_time": first, "size_bytes": None},
        {"object_type": "table", "start_time": None, "end_time": first, "size_bytes": 4},
    ]

    full, layer = layers_of(rows, database="d", server_version="v25.4.1", lineage="c")

    assert (full.facts.coverage.start, full.facts.coverage.end) == (AT, AT)
    assert (layer.facts.coverage.start, layer.facts.coverage.end) == (AT, second)
    assert (full.plain_bytes, layer.plain_bytes) == (11, 5)
    assert full.facts.counts == {"tables": 2}
