"""`controller passphrase` prints what the controller gives to the runner."""

from __future__ import annotations

import subprocess
import sys

import pytest

from controller.kube.resource import DATABASE_BACKUP_STORAGE_CLASSES, SECRETS
from tests.integration.controller.world import Controller, World, wait_for


def run(world: World, key: str, kubeconfig: str) -> subprocess.CompletedProcess[str]:
    place = ["--class-secret", world.system, "bucket", key]
    command = [sys.executable, "-m", "controller.cli", "passphrase", world.namespace, "shop"]
    return subprocess.run(
        [*command, *place, "--kubeconfig", kubeconfig],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# A newline at its end is what `kubectl create secret --from-file` mostly leaves.
@pytest.mark.parametrize("text", ["of the class", "of the class\n"])
def test_it_is_that_of_the_runner_s_configuration(
    world: World, controller: Controller, text: str
) -> None:
    world.change(
        SECRETS,
        "bucket",
        lambda raw: raw.update(stringData={"pass": text}),
        namespace=world.system,
    )
    reference = {"fromSecret": {"name": "bucket", "key": "pass"}}
    world.change(
        DATABASE_BACKUP_STORAGE_CLASSES,
        world.class_name,
        lambda raw: raw["spec"]["backupLocations"][0].update(encryptionPass=reference),
    )
    world.create_backup()
    world.wait_for_children()

    # The object may have been seen before the change of its class.
    def given() -> str | None:
        (location,) = world.config()["storageSpec.yaml"]["backupLocations"]
        return location.get("encryptionPass", {}).get("value")

    passphrase = wait_for(given)

    done = run(world, "pass", world.kubeconfig)

    assert done.stdout == passphrase + "\n"
    assert done.returncode == 0


def test_what_it_cannot_read_is_told(world: World) -> None:
    done = run(world, "nowhere", world.kubeconfig)
    assert (done.returncode, done.stdout) == (75, "")
    assert f"Secret {world.system}/bucket has no key nowhere" in done.stderr

    token = world.server.token_for(world.namespace, "somebody")
    stranger = str(world.server.kubeconfig(token=token))
    done = run(world, "key", stranger)
    assert (done.returncode, done.stdout) == (78, "")
    assert "forbidden" in done.stderr
