from __future__ import annotations

import pytest

from controller.kube.resource import (
    DATABASE_BACKUP_STORAGE_CLASSES,
    DATABASE_BACKUPS,
    DEPLOYMENTS,
    NAMESPACES,
    SECRETS,
)


def test_paths_are_those_of_the_api() -> None:
    assert SECRETS.path() == "/api/v1/secrets"
    assert SECRETS.path("shop") == "/api/v1/namespaces/shop/secrets"
    assert DEPLOYMENTS.path("shop", "a") == "/apis/apps/v1/namespaces/shop/deployments/a"
    assert DATABASE_BACKUPS.path("shop", "a", "status") == (
        "/apis/backup.nect.com/v1/namespaces/shop/databasebackups/a/status"
    )
    assert DATABASE_BACKUP_STORAGE_CLASSES.path(name="fast") == (
        "/apis/backup.nect.com/v1/databasebackupstorageclasses/fast"
    )


def test_a_name_cannot_leave_its_place_in_the_path() -> None:
    assert SECRETS.path("shop", "../x?y") == "/api/v1/namespaces/shop/secrets/..%2Fx%3Fy"


def test_a_namespace_is_neither_missing_nor_too_many() -> None:
    with pytest.raises(ValueError, match="none is named"):
        SECRETS.path(name="a")
    with pytest.raises(ValueError, match="in no namespace"):
        NAMESPACES.path("shop", "a")


def test_kinds_are_told_as_kubectl_writes_them() -> None:
    assert str(SECRETS) == "secrets"
    assert str(DEPLOYMENTS) == "deployments.apps"
    assert DEPLOYMENTS.api_version == "apps/v1"
    assert SECRETS.api_version == "v1"
