"""Hypothesis strategies for the values of controller.api."""

from __future__ import annotations

import string
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from controller.api import pods, quantity, v1
from controller.api.conditions import Condition, ConditionStatus
from controller.api.secrets import Secret, SecretRef, SecretValue
from controller.api.status import (
    AttemptSummary,
    BackupSummary,
    DatabaseBackupStatus,
    LocationStatus,
)

_ALNUM = string.ascii_lowercase + string.digits

dns_labels = st.builds(
    lambda middle, end: (middle + end).lstrip("-") or "a",
    st.text(_ALNUM + "-", max_size=61),
    st.sampled_from(_ALNUM),
)
dns_names = st.lists(dns_labels, min_size=1, max_size=3).map(".".join)
words = st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=20)
times = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))


def durations(
    low: timedelta, high: timedelta = timedelta(days=366)
) -> st.SearchStrategy[timedelta]:
    return st.timedeltas(low, high)


secret_keys = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=20)
secret_values = st.one_of(
    st.builds(SecretValue, value=st.text(min_size=1).map(Secret)),
    st.builds(SecretValue, from_secret=st.builds(SecretRef, name=dns_names, key=secret_keys)),
)
_secret_or_none = st.none() | secret_values
_recipients = st.lists(
    st.text("023456789acdefghjklmnpqrstuvwxyz", min_size=58, max_size=58).map("age1".__add__),
    max_size=2,
)


@st.composite
def locations(draw: st.DrawFn) -> v1.BackupLocation:
    kind = draw(st.sampled_from(v1.StorageType))
    fields: dict[str, object] = {"storage_type": kind}
    if draw(st.booleans()):
        fields["name"] = draw(dns_labels)
    if kind is v1.StorageType.FILESYSTEM:
        fields["path"] = "/" + draw(words.filter(lambda word: word.strip(".")))
    else:
        fields["storage_bucket"] = f"b{draw(words)}b"
        fields["storage_endpoint"] = "storage.example.com:9000"
        fields["storage_use_ssl"] = draw(st.booleans())
        fields["ca_bundle"] = draw(_secret_or_none)
    if kind is v1.StorageType.GCS:
        fields["gcs_credentials"] = draw(_secret_or_none)
    if kind in {v1.StorageType.S3, v1.StorageType.MINIO}:
        fields["force_path_style"] = draw(st.none() | st.booleans())
        if draw(st.booleans()):
            fields["storage_access_key_id"] = draw(secret_values)
            fields["storage_secret_access_key"] = draw(secret_values)
    if draw(st.booleans()):
        fields["encryption_pass"] = draw(_secret_or_none)
    else:
        fields["encryption_recipients"] = draw(_recipients)
    fields["previous_encryption_passes"] = draw(st.lists(secret_values, max_size=2))
    return v1.BackupLocation(**fields)


def _name(location: v1.BackupLocation) -> str:
    return location.name


def _place(location: v1.BackupLocation) -> tuple[str, ...]:
    return location.place


@st.composite
def storage_class_specs(draw: st.DrawFn) -> v1.StorageClassSpec:
    places = draw(
        st.lists(
            locations(),
            min_size=1,
            max_size=4,
            unique_by=(_name, _place),
        )
    )
    least = draw(st.none() | st.integers(1, len(places)))
    return v1.StorageClassSpec(
        backup_locations=places,
        min_successful_locations=least,
        allowed_namespaces=draw(st.lists(dns_labels, max_size=2)),
        credential_scope=draw(st.sampled_from(v1.CredentialScope)),
        share_encryption_pass=draw(st.booleans()),
        service_account_annotations=draw(
            st.dictionaries(st.sampled_from(["a", "eks.amazonaws.com/role-arn"]), st.text())
        ),
    )


_counts = st.none() | st.integers(1, 1000)
retentions = st.builds(
    v1.Retention,
    keep_last=st.integers(1, 1000),
    keep_within=st.none() | durations(timedelta(hours=1)),
    keep_hourly=_counts,
    keep_daily=_counts,
    keep_weekly=_counts,
    keep_monthly=_counts,
    keep_yearly=_counts,
    minimum_keep=st.integers(1, 20),
)
retention_configs = st.dictionaries(
    st.sampled_from(["%Y", "%Y-%m", "%Y-w%V", "%G-w%V", "%Y-%m-%d", "%Y-%m-%dT%H", "at %H:%M"]),
    durations(timedelta(0), timedelta(days=4000)),
    min_size=1,
)


@st.composite
def postgres_specs(draw: st.DrawFn) -> v1.PostgresSpec:
    mode = draw(st.sampled_from(v1.SslMode))
    fields: dict[str, object] = {"ssl_mode": mode}
    if mode is not v1.SslMode.DISABLE:
        fields["ssl_root_cert"] = draw(_secret_or_none)
        if draw(st.booleans()):
            fields["ssl_cert"] = draw(secret_values)
            fields["ssl_key"] = draw(secret_values)
    return v1.PostgresSpec(
        database=draw(st.text("abcÄ \"'$;\\", min_size=1, max_size=63)),
        host=draw(dns_names | st.just("/run/postgresql")),
        port=draw(st.integers(1, 65535)),
        user=draw(words),
        password=draw(_secret_or_none),
        **fields,
    )


_quantities = st.sampled_from(["1", "0.5", "100m", "1500m", "64Mi", "1024Mi", "2.5Gi", "3G"])
_amounts = st.dictionaries(st.sampled_from(["cpu", "memory"]), _quantities)
_resources = st.builds(
    lambda one, other: pods.Resources(
        requests={
            name: min(amount, other.get(name, amount), key=quantity.amount)
            for name, amount in one.items()
        },
        limits={
            name: max(amount, one.get(name, amount), key=quantity.amount)
            for name, amount in other.items()
        },
    ),
    _amounts,
    _amounts,
)
_labels = st.dictionaries(
    st.sampled_from(["team", "example.com/tier"]), st.sampled_from(["", "a", "a.b_c"])
)
_volumes = st.lists(
    st.builds(
        pods.Volume,
        name=st.sampled_from(["cache", "keys"]),
        secret=st.builds(pods.SecretFiles, secret_name=dns_names, optional=st.booleans()),
    )
    | st.builds(
        pods.Volume,
        name=st.sampled_from(["cache", "keys"]),
        empty_dir=st.builds(pods.EmptyDir, size_limit=st.none() | _quantities),
    ),
    max_size=2,
    unique_by=lambda volume: volume.name,
)


@st.composite
def runner_options(draw: st.DrawFn) -> v1.RunnerOptions:
    volumes = draw(_volumes)
    return v1.RunnerOptions(
        parallelism=draw(st.integers(1, 32)),
        resources=draw(_resources),
        node_selector=draw(_labels),
        affinity=draw(st.none() | st.just({"nodeAffinity": {"a": [1]}})),
        tolerations=draw(
            st.lists(
                st.builds(
                    pods.Toleration,
                    key=st.sampled_from(["", "a"]),
                    operator=st.none() | st.sampled_from(pods.TolerationOperator),
                    effect=st.none() | st.sampled_from(pods.TaintEffect),
                ),
                max_size=2,
            )
        ),
        annotations=draw(st.dictionaries(st.sampled_from(["a", "b.c/d"]), st.text())),
        labels=draw(_labels),
        image_pull_secrets=draw(st.lists(dns_names, max_size=2)),
        env=draw(st.sampled_from([(), (pods.EnvVariable(name="NO_PROXY", value="\n"),)])),
        volumes=volumes,
        volume_mounts=[
            pods.VolumeMount(name=volume.name, mount_path=f"/mnt/{volume.name}")
            for volume in volumes
        ],
        scratch=draw(st.none() | st.builds(pods.Scratch, claim_name=dns_names)),
    )


@st.composite
def backup_specs(draw: st.DrawFn) -> v1.DatabaseBackupSpec:
    fields: dict[str, object] = {}
    kept = draw(st.sampled_from(["default", "retention", "retention_config", "single"]))
    if kept == "retention":
        fields["retention"] = draw(retentions)
    elif kept == "retention_config":
        fields["retention_config"] = draw(retention_configs)
    elif kept == "single":
        fields["use_single_backup_target"] = True
    if draw(st.booleans()):
        fields["backup_cron"] = draw(st.sampled_from(["0 3 * * *", "*/5 * * * 1-5", "@daily"]))
    else:
        fields["backup_interval_hours"] = draw(st.integers(1, 1000))
    if draw(st.booleans()):
        fields["verification"] = v1.Verification(every=draw(durations(timedelta(hours=1))))
    return v1.DatabaseBackupSpec(
        database_type="postgres",
        backup_storage_class=draw(dns_names),
        database_version=draw(st.sampled_from(["", "16", "18.4"])),
        postgres=draw(postgres_specs()),
        time_zone=draw(st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"])),
        jitter_seconds=draw(st.integers(0, 3600)),
        suspend=draw(st.booleans()),
        starting_deadline_seconds=draw(st.integers(0, 86400)),
        timeout=draw(durations(timedelta(minutes=1))),
        stall_timeout=draw(durations(timedelta(minutes=1))),
        compression=v1.Compression(level=draw(st.integers(1, 19))),
        runner=draw(runner_options()),
        **fields,
    )


conditions = st.builds(
    Condition,
    type=words,
    status=st.sampled_from(ConditionStatus),
    reason=words,
    message=st.text(),
    last_transition_time=st.none() | times,
    observed_generation=st.integers(0, 2**40),
)
backup_statuses = st.builds(
    DatabaseBackupStatus,
    conditions=st.lists(conditions, max_size=3).map(tuple),
    hash=words,
    last_backup=st.none() | st.builds(BackupSummary, id=words, started_at=times),
    last_attempt=st.none()
    | st.builds(AttemptSummary, started_at=times, succeeded=st.none() | st.booleans()),
    next_backup_at=st.none() | times,
    stored_backups=st.none() | st.integers(0, 10**6),
    locations=st.lists(
        st.builds(LocationStatus, name=dns_labels, healthy=st.booleans()), max_size=2
    ).map(tuple),
)
backups = st.builds(
    v1.DatabaseBackup,
    metadata=st.builds(
        v1.ObjectMeta,
        name=dns_names,
        namespace=dns_labels,
        labels=st.dictionaries(words, words, max_size=2),
    ),
    spec=backup_specs(),
    status=backup_statuses,
)
