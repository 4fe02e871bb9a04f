"""The test environment backs up what it starts, with a runner whose image has been built for it."""

from __future__ import annotations

import pytest
import yaml

from controller.api import codec, v1
from controller.api.locations import BackupLocation
from controller.api.secrets import Secret, SecretValue
from engines import registry
from engines.interface import InitOptions
from release import images
from testenv.deploy import ENGINE_IMAGES, NAMESPACE, TESTENV_CHART
from tests.servers.helm import Helm


@pytest.mark.parametrize("name", ENGINE_IMAGES)
def test_a_database_comes_with_an_object_of_its_engine(helm: Helm, name: str) -> None:
    done = helm.run("template", NAMESPACE, TESTENV_CHART, "--set", f"database={name}")

    assert done.returncode == 0, done.stderr
    manifests = [one for one in yaml.safe_load_all(done.stdout) if one]
    (raw,) = [one for one in manifests if one["kind"] == v1.DatabaseBackup.KIND]
    raw["metadata"]["namespace"] = NAMESPACE
    spec = codec.decode(v1.DatabaseBackup, raw).spec
    (raw,) = [one for one in manifests if one["kind"] == v1.DatabaseBackupStorageClass.KIND]
    locations = codec.decode(v1.DatabaseBackupStorageClass, raw).spec.backup_locations
    assert spec.database_type == name
    services = {one["metadata"]["name"] for one in manifests if one["kind"] == "Service"}
    assert getattr(spec, name).host.partition(".")[0] in services
    # What `make deploy-local` builds is what the controller asks for.
    (built,) = images.choose([ENGINE_IMAGES[name]])
    assert built.name("prefix", "1.2.3") == image_asked_for(spec, locations)


def image_asked_for(spec: v1.DatabaseBackupSpec, locations: tuple[BackupLocation, ...]) -> str:
    """Of an engine that is told the locations, too, and refuses what it cannot serve."""

    def refuse(_value: SecretValue) -> Secret:
        raise AssertionError("an image is chosen without a secret")

    engine = registry.get(spec.database_type)
    engine.init(
        InitOptions(
            namespace=NAMESPACE,
            name="shop",
            spec=getattr(spec, spec.database_type),
            resolve=refuse,
            environ={},
            version=spec.database_version,
            locations=locations,
        )
    )
    return engine.pod_spec(image_prefix="prefix", release="1.2.3").image
