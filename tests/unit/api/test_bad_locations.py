"""Every field of a storage class with a wrong type, range or combination."""

from __future__ import annotations

from typing import Any

import pytest

from controller.api import codec, v1
from controller.api.errors import InvalidSpec
from tests.builders import a_location_manifest

TEXT = "must be a string; put it in quotes"
BOOL = "must be true or false"
OBJECT = "must be an object"
SECRET_OBJECT = "must be an object: the text as value, or name and key of a Secret as fromSecret"
LIST = "must be a list"
REQUIRED = "is required"
SECRET = "needs value or fromSecret"
DNS_NAME = "must be a DNS name: a-z, 0-9, - and ., each part of 1 to 63 characters"
DNS_LABEL = "must be a DNS label: up to 63 of a-z, 0-9 and -, not - at an end"
AGE = "must be an age public key: age1 and 58 characters"
REF = {"fromSecret": {"name": "s", "key": "k"}}


def same_place(**fields: Any) -> list[dict[str, Any]]:
    return [a_location_manifest(), a_location_manifest(**fields)]


def folder(**fields: Any) -> dict[str, Any]:
    return {"storageType": "filesystem", "path": "/backups"} | fields


PLACES = "names separated by single slashes, none of them . or .."
FOLDER = "must be a folder's path without . or .. or empty names"
KEYS = "goes together with storageAccessKeyID: give both, or neither for the SDK's own search"
ENDPOINT = "must be host or host:port, without a scheme or path"
BUCKET = "must be a bucket's name: 3 to 222 of letters, digits, -, _ and ."
EMPTY = "must not be empty; leave it out for no encryption"
TYPES = "must be one of s3, minio, gcs, filesystem"

# the location, path below it, message
LOCATION_CASES: list[tuple[Any, str, str]] = [
    ("s3", "", OBJECT),
    ({"storageBucket": "abc"}, "storageType", REQUIRED),
    (a_location_manifest(storageType="ftp"), "storageType", TYPES),
    (a_location_manifest(storageType=["s3"]), "storageType", TYPES),
    (a_location_manifest(name="Main"), "name", DNS_LABEL),
    (a_location_manifest(name=""), "name", DNS_LABEL),
    (a_location_manifest(name=1), "name", TEXT),
    (a_location_manifest(storageEndpoint="https://s3"), "storageEndpoint", ENDPOINT),
    (a_location_manifest(storageEndpoint="s3/x"), "storageEndpoint", ENDPOINT),
    (a_location_manifest(storageEndpoint="s3:port"), "storageEndpoint", ENDPOINT),
    (a_location_manifest(storageEndpoint="user@s3"), "storageEndpoint", ENDPOINT),
    (a_location_manifest(storageEndpoint=9000), "storageEndpoint", TEXT),
    (a_location_manifest(storageBucket=None), "storageBucket", "is required for storageType s3"),
    (a_location_manifest(storageBucket="a/b"), "storageBucket", BUCKET),
    (a_location_manifest(storageBucket="ab"), "storageBucket", BUCKET),
    (a_location_manifest(storageLocation="eu west"), "storageLocation", "must be a region's name"),
    (a_location_manifest(storageAccessKeyID=None), "storageSecretAccessKey", KEYS),
    (a_location_manifest(storageSecretAccessKey=None), "storageSecretAccessKey", KEYS),
    (a_location_manifest(storageAccessKeyID="canary-secret"), "storageAccessKeyID", SECRET_OBJECT),
    (
        a_location_manifest(storageSecretAccessKey={"valu": "canary-secret"}),
        "storageSecretAccessKey",
        SECRET,
    ),
    (a_location_manifest(storageUseSSL="true"), "storageUseSSL", BOOL),
    (a_location_manifest(storageInsecureSkipVerify=1), "storageInsecureSkipVerify", BOOL),
    (a_location_manifest(storagePrefix="a/../b"), "storagePrefix", f"must be {PLACES}"),
    (a_location_manifest(storagePrefix="a//b"), "storagePrefix", f"must be {PLACES}"),
    (a_location_manifest(storagePrefix="."), "storagePrefix", f"must be {PLACES}"),
    (a_location_manifest(storagePrefix="a\nb"), "storagePrefix", f"must be {PLACES}"),
    (
        a_location_manifest(storagePrefix="x" * 513),
        "storagePrefix",
        "must have at most 512 characters",
    ),
    (a_location_manifest(forcePathStyle="yes"), "forcePathStyle", BOOL),
    (
        a_location_manifest(gcsCredentials=REF),
        "gcsCredentials",
        "does not belong to storageType s3: remove it",
    ),
    (a_location_manifest(path="/x"), "path", "does not belong to storageType s3: remove it"),
    (a_location_manifest(caBundle="PEM"), "caBundle", SECRET_OBJECT),
    (a_location_manifest(encryptionPass={"value": ""}), "encryptionPass", EMPTY),
    (a_location_manifest(encryptionPass={}), "encryptionPass", SECRET),
    (a_location_manifest(encryptionPass="canary-secret"), "encryptionPass", SECRET_OBJECT),
    (
        a_location_manifest(previousEncryptionPasses=[{"value": ""}]),
        "previousEncryptionPasses[0]",
        EMPTY,
    ),
    (
        a_location_manifest(previousEncryptionPasses={"value": "canary-secret"}),
        "previousEncryptionPasses",
        LIST,
    ),
    (
        a_location_manifest(previousEncryptionPasses=[REF, "canary-secret"]),
        "previousEncryptionPasses[1]",
        SECRET_OBJECT,
    ),
    (a_location_manifest(encryptionRecipients="age1"), "encryptionRecipients", LIST),
    (
        a_location_manifest(encryptionRecipients=["age1" + "q" * 58, "AGE-SECRET-KEY-1"]),
        "encryptionRecipients[1]",
        AGE,
    ),
    (
        a_location_manifest(
            encryptionPass={"value": "canary-secret"}, encryptionRecipients=["age1" + "q" * 58]
        ),
        "encryptionRecipients",
        (
            "cannot be combined with encryptionPass: an age file with a passphrase has no other"
            " recipient"
        ),
    ),
    (
        {"storageType": "minio", "storageBucket": "abc"},
        "storageEndpoint",
        "is required for storageType minio",
    ),
    ({"storageType": "gcs"}, "storageBucket", "is required for storageType gcs"),
    (
        {"storageType": "gcs", "storageBucket": "abc", "storageLocation": "eu"},
        "storageLocation",
        "does not belong to storageType gcs: remove it",
    ),
    (
        {"storageType": "filesystem"},
        "path",
        "is required for storageType filesystem (or claimName)",
    ),
    (folder(path="backups"), "path", "must be absolute unless claimName is given"),
    (folder(path="/a/../b"), "path", FOLDER),
    (folder(path="/a\0b"), "path", FOLDER),
    (folder(claimName="My_Claim"), "claimName", DNS_NAME),
    (
        folder(storageBucket="abc"),
        "storageBucket",
        "does not belong to storageType filesystem: remove it",
    ),
    (
        folder(storageUseSSL=True),
        "storageUseSSL",
        "does not belong to storageType filesystem: remove it",
    ),
]


@pytest.mark.parametrize(("location", "path", "message"), LOCATION_CASES)
def test_location_is_refused(location: Any, path: str, message: str) -> None:
    with pytest.raises(InvalidSpec) as refused:
        codec.decode(
            v1.StorageClassSpec,
            {"backupLocations": [a_location_manifest(storageBucket="first"), location]},
            path="spec",
        )

    dot = "." if path else ""
    assert f"spec.backupLocations[1]{dot}{path}: {message}" == str(refused.value)
    assert "canary-secret" not in str(refused.value)


QUALIFIED = (
    "must be the key of a label or annotation: letters, digits, -, _ and ., after a DNS name "
    "and / or not"
)

SPEC_CASES: list[tuple[Any, str]] = [
    ({}, "backupLocations: is required"),
    ({"backupLocations": []}, "backupLocations: must have 1 to 16 entries"),
    ({"backupLocations": {"storageType": "s3"}}, "backupLocations: must be a list"),
    ({"backupLocations": [None]}, "backupLocations[0]: must be an object"),
    (
        {"backupLocations": [a_location_manifest(storageBucket=f"b-{n}") for n in range(17)]},
        "backupLocations: must have 1 to 16 entries",
    ),
    (
        {"backupLocations": same_place()},
        "backupLocations[1]: is the same place as backupLocations[0]",
    ),
    (
        {"backupLocations": same_place(name="other")},
        "backupLocations[1]: is the same place as backupLocations[0]",
    ),
    (
        {
            "backupLocations": [
                a_location_manifest(name="a"),
                a_location_manifest(name="a", storagePrefix="b"),
            ]
        },
        "backupLocations[1].name: must differ from that of backupLocations[0]",
    ),
    (
        {"backupLocations": [a_location_manifest()], "allowedNamespaces": ["web", "a.b"]},
        "allowedNamespaces[1]: must be a DNS label: up to 63 of a-z, 0-9 and -, not - at an end",
    ),
    (
        {"backupLocations": [a_location_manifest()], "credentialScope": "Cluster"},
        "credentialScope: must be one of Class, Namespace",
    ),
    (
        {"backupLocations": [a_location_manifest()], "shareEncryptionPass": "yes"},
        "shareEncryptionPass: must be true or false",
    ),
    (
        {"backupLocations": [a_location_manifest()], "serviceAccountAnnotations": {"a": 1}},
        "serviceAccountAnnotations.a: must be a string; put it in quotes",
    ),
    (
        {"backupLocations": [a_location_manifest()], "serviceAccountAnnotations": {"a/b/c": "d"}},
        'serviceAccountAnnotations["a/b/c"]: ' + QUALIFIED,
    ),
    (
        {"backupLocations": [a_location_manifest()], "minSuccessfulLocations": 0},
        "minSuccessfulLocations: must be >= 1",
    ),
    (
        {"backupLocations": [a_location_manifest()], "minSuccessfulLocations": 2},
        "minSuccessfulLocations: must be <= 1, the number of locations",
    ),
    (
        {"backupLocations": [a_location_manifest()], "minSuccessfulLocations": "1"},
        "minSuccessfulLocations: must be an integer",
    ),
    ([], "must be an object"),
    ("text", "must be an object"),
]


@pytest.mark.parametrize(("spec", "message"), SPEC_CASES)
def test_class_is_refused(spec: Any, message: str) -> None:
    with pytest.raises(InvalidSpec) as refused:
        codec.decode(v1.StorageClassSpec, spec)

    assert message == str(refused.value)
