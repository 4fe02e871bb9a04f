"""What people do to a cluster, at random and many at once; what they did is noted."""

from __future__ import annotations

import base64
import contextlib
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any, TypeVar

from controller.api.errors import ObjectExists, ObjectNotFound, RetriableError
from controller.api.keys import ObjectKey
from controller.api.names import child_name
from controller.api.v1 import API_VERSION
from controller.kube.client import Client
from controller.kube.resource import (
    DATABASE_BACKUP_STORAGE_CLASSES as CLASSES,
    DATABASE_BACKUPS,
    LEASES,
    ROLES,
    SECRETS,
    Resource,
)
from controller.resources.labels import MANAGED_BY, SRC_NAME
from tests.integration.controller.churn_content import (
    CLASS_NAMES,
    CONTENT,
    EDITS,
    KEYS,
    SECRET_NAMES,
    a_class_spec,
    a_spec,
)
from tests.integration.controller.churn_model import Id, Inputs
from tests.integration.controller.rest_of_cluster import CONFIG_MAPS
from tests.integration.controller.world import CHILDREN
from tests.integration.kube.objects import an_object

Raw = dict[str, Any]
#: The name of what is done, and a number that chooses the rest.
Change = tuple[str, int]
T = TypeVar("T")

#: Of each tenant's namespace, for what is given away.
OWNER = "owner"
_PATIENCE_S = 120.0
#: Longer than a reconcile that saw the child as it was before may take.
_STANDS_S = 1.5
#: Children that the controller does not watch: it looks at them when their object changes.
_UNWATCHED = (SECRETS, LEASES)


def insist(act: Callable[[], T]) -> T:
    """Do it, however often the API server has to be asked."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return act()
        except (RetriableError, ObjectNotFound) as error:
            # A server that has just begun does not know its custom kinds yet.
            is_passing = isinstance(error, RetriableError) or "does not serve" in str(error)
            if not is_passing or time.monotonic() > deadline:
                raise
        time.sleep(0.1)


class Changes:
    """All that is done, by name; each on one object that a number chooses.

    Args:
        keys: of all DatabaseBackups that there may be.
        system: the controller's namespace.
        note: told of everything that was done.
    """

    def __init__(
        self,
        client: Client,
        inputs: Inputs,
        *,
        keys: Sequence[ObjectKey],
        system: str,
        note: Callable[[str], None],
    ) -> None:
        self._client = client
        self._inputs = inputs
        self.keys = keys
        self._namespaces = sorted({key.namespace for key in keys})
        self._system = system
        self._note = note
        # How often something was done that concerns an object; guarded by the lock.
        self.touched: Counter[ObjectKey] = Counter()
        self._lock = threading.Lock()

    def begin(self, number: int) -> None:
        """Put everything there; most of it is good."""
        self.mend(number)
        with ThreadPoolExecutor(8) as pool:
            for ended in [
                pool.submit(self._one, "create", key, Random(number + at))
                for at, key in enumerate(self.keys)
            ]:
                ended.result()

    def mend(self, number: int) -> None:
        """Have all classes and their Secrets there; else most objects would wait for one."""
        random = Random(number)
        for name in SECRET_NAMES:
            self._one("rotate", name, random)
        for name in CLASS_NAMES:
            self._one("define", name, random)

    def do(self, wanted: Sequence[Change], *, spare: str = "") -> None:
        """Do all, at once where they are about different objects, else in order.

        Args:
            spare: a namespace that is left alone.
        """
        tasks: dict[object, list[Callable[[], None]]] = defaultdict(list)
        for name, number in wanted:
            random = Random(number)
            if name in _OF_CLASSES:
                target: object = random.choice(CLASS_NAMES)
            elif name in _OF_SECRETS:
                target = random.choice(SECRET_NAMES)
            else:
                target = random.choice(self.keys)
                if target.namespace == spare:
                    continue
            tasks[target].append(lambda n=name, t=target, r=random: self._one(n, t, r))  # type: ignore[misc]
        with ThreadPoolExecutor(8, thread_name_prefix="people") as pool:
            for ended in [pool.submit(_in_order, one) for one in tasks.values()]:
                ended.result()

    def _one(self, name: str, target: Any, random: Random) -> None:
        getattr(self, name)(target, random)
        self._note(f"{name} {target}")
        is_key = isinstance(target, ObjectKey)
        with self._lock:
            self.touched.update([target] if is_key else self.keys)

    # DatabaseBackups.

    def create(self, key: ObjectKey, random: Random) -> None:
        if key in self._inputs.backups:
            return self.respecify(key, random)
        raw = an_object(DATABASE_BACKUPS, *_where(key), spec=a_spec(random))
        with contextlib.suppress(ObjectExists):
            insist(lambda: self._client.create(DATABASE_BACKUPS, raw, is_strict=True))
        self._remember(key)
        return None

    def respecify(self, key: ObjectKey, random: Random) -> None:
        """Change everything of it that may be changed, to something good or bad."""
        spec = a_spec(random)
        removed = dict.fromkeys(("backupCron", "backupInterval", "mysql", "postgres", "runner"))
        self._patch(key, {"spec": removed | spec})

    def reschedule(self, key: ObjectKey, random: Random) -> None:
        self._patch(key, {"spec": {"backupCron": None, "backupInterval": random.randint(1, 99)}})

    def label(self, key: ObjectKey, random: Random) -> None:
        labels = {"colour": random.choice(["red", "blue"])}
        self._patch(key, {"metadata": {"labels": labels, "annotations": labels}})

    def touch(self, key: ObjectKey, random: Random) -> None:
        self._patch(key, {"spec": {"jitterSeconds": random.randint(1, 9999)}})

    def delete(self, key: ObjectKey, random: Random) -> None:
        with contextlib.suppress(ObjectNotFound):
            insist(lambda: self._client.delete(DATABASE_BACKUPS, key.name, namespace=key.namespace))
        for noted in (self._inputs.backups, self._inputs.reports):
            noted.pop(key, None)

    def recreate(self, key: ObjectKey, random: Random) -> None:
        self.delete(key, random)
        self.create(key, random)

    def report(self, key: ObjectKey, random: Random) -> None:
        """What its runner would say."""
        if key not in self._inputs.backups:
            return
        is_healthy = random.random() < 0.5
        locations = [{"name": "s3", "healthy": is_healthy, "reason": "Told"}]
        status = an_object(DATABASE_BACKUPS, *_where(key), status={"locations": locations})
        written = insist(
            lambda: self._client.apply_status(
                DATABASE_BACKUPS, status, field_manager="db-backup-runner"
            )
        )
        self._inputs.reports[key] = written["status"]["locations"]

    def fail(self, key: ObjectKey, random: Random) -> None:
        self._inputs.down.add(key)

    def recover(self, key: ObjectKey, random: Random) -> None:
        self._inputs.down.discard(key)

    # Children.

    def delete_child(self, key: ObjectKey, random: Random) -> None:
        one = self._child(key, random)
        if one not in self._inputs.strangers:
            self._delete_child(one)
            self._cause(key, one[0], random)

    def edit_child(self, key: ObjectKey, random: Random) -> None:
        one = self._child(key, random)
        if one not in self._inputs.strangers and self._edit(one, EDITS[one[0]]):
            self._cause(key, one[0], random)

    def strip_child(self, key: ObjectKey, random: Random) -> None:
        """Take away by what the controller finds it: its labels, or its owner."""
        one = self._child(key, random)
        what = random.choice(["labels", "ownerReferences"])
        metadata = (self._get(one) or {}).get("metadata", {})
        # Without either it would be somebody else's.
        is_whole = SRC_NAME in metadata.get("labels", {}) and metadata.get("ownerReferences")
        if (
            is_whole
            and one not in self._inputs.strangers
            and self._edit(one, lambda raw: raw["metadata"].pop(what, None))
        ):
            self._cause(key, one[0], random)

    def add_orphan(self, key: ObjectKey, random: Random) -> None:
        """Something that the object owns and does not want."""
        backup = self._inputs.backups.get(key)
        if backup is None:
            return
        owner = {"apiVersion": API_VERSION, "kind": "DatabaseBackup", "name": key.name}
        metadata = {
            "namespace": key.namespace,
            "name": f"more-{key.name}",
            "labels": {"app.kubernetes.io/managed-by": MANAGED_BY},
            "ownerReferences": [owner | {"uid": backup["metadata"]["uid"]}],
        }
        raw = an_object(ROLES, *_where(key), rules=[]) | {"metadata": metadata}
        with contextlib.suppress(ObjectExists):
            insist(lambda: self._client.create(ROLES, raw))

    def usurp(self, key: ObjectKey, random: Random) -> None:
        """Somebody else's object takes the name of a child."""
        one = self._child(key, random)
        if self._strangers_of(key):
            return
        raw = an_object(*one) | CONTENT.get(one[0], {})

        def stand() -> Raw | None:
            self._delete_child(one)
            with contextlib.suppress(ObjectExists):
                return insist(lambda: self._client.create(one[0], raw))
            return None

        self._stand(one, stand)
        self._cause(key, one[0], random)

    def give_away(self, key: ObjectKey, random: Random) -> None:
        """A child gets another owner."""
        one = self._child(key, random)
        if self._strangers_of(key) or self._get(one) is None:
            return
        found = insist(lambda: self._client.get(CONFIG_MAPS, OWNER, namespace=key.namespace))
        owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": OWNER}
        owners = [owner | {"uid": found["metadata"]["uid"]}]
        self._stand(
            one, lambda: self._edit(one, lambda raw: raw["metadata"].update(ownerReferences=owners))
        )
        self._cause(key, one[0], random)

    def remove_stranger(self, key: ObjectKey, random: Random) -> None:
        for one in self._strangers_of(key):
            self._delete_child(one)
            self._inputs.strangers.pop(one)
            # No event tells the controller what was not its own.
            self.touch(key, random)

    # Classes and their Secrets.

    def define(self, name: str, random: Random) -> None:
        spec = a_class_spec(random, self._namespaces)
        if name in self._inputs.classes:
            removed = dict.fromkeys(("allowedNamespaces", "credentialScope", "runner"))
            patch: Raw = {"spec": removed | spec}
            raw = insist(lambda: self._client.patch(CLASSES, name, patch))
        else:
            body = an_object(CLASSES, "", name, spec=spec) | {"metadata": {"name": name}}
            with contextlib.suppress(ObjectExists):
                insist(lambda: self._client.create(CLASSES, body, is_strict=True))
            raw = insist(lambda: self._client.get(CLASSES, name))
        self._inputs.classes[name] = raw

    def undefine(self, name: str, random: Random) -> None:
        with contextlib.suppress(ObjectNotFound):
            insist(lambda: self._client.delete(CLASSES, name))
        self._inputs.classes.pop(name, None)

    def rotate(self, name: str, random: Random) -> None:
        texts = {one: f"{one} {random.getrandbits(64)}" for one in KEYS}
        if random.random() < 0.05:
            texts[random.choice(KEYS)] = ""
        if random.random() < 0.05:
            del texts[random.choice(KEYS)]
        data = {one: base64.b64encode(text.encode()).decode() for one, text in texts.items()}
        raw = an_object(SECRETS, self._system, name, data=dict.fromkeys(KEYS) | data)
        try:
            insist(lambda: self._client.patch(SECRETS, name, raw, namespace=self._system))
        except ObjectNotFound:
            with contextlib.suppress(ObjectExists):
                insist(lambda: self._client.create(SECRETS, raw | {"data": data}))
        self._inputs.secrets[name] = texts

    def forget(self, name: str, random: Random) -> None:
        with contextlib.suppress(ObjectNotFound):
            insist(lambda: self._client.delete(SECRETS, name, namespace=self._system))
        self._inputs.secrets.pop(name, None)

    def _remember(self, key: ObjectKey) -> None:
        self._inputs.backups[key] = insist(
            lambda: self._client.get(DATABASE_BACKUPS, key.name, namespace=key.namespace)
        )

    def _patch(self, key: ObjectKey, patch: Raw) -> None:
        if key in self._inputs.backups:
            self._inputs.backups[key] = insist(
                lambda: self._client.patch(
                    DATABASE_BACKUPS, key.name, patch, namespace=key.namespace
                )
            )

    def _child(self, key: ObjectKey, random: Random) -> Id:
        resource, role = random.choice(CHILDREN)
        return resource, key.namespace, child_name(key.namespace, key.name, role)

    def _strangers_of(self, key: ObjectKey) -> list[Id]:
        ids = [
            (resource, key.namespace, child_name(key.namespace, key.name, role))
            for resource, role in CHILDREN
        ]
        return [one for one in ids if one in self._inputs.strangers]

    def _get(self, one: Id) -> Raw | None:
        try:
            return insist(lambda: self._client.get(one[0], one[2], namespace=one[1]))
        except ObjectNotFound:
            return None

    def _delete_child(self, one: Id) -> None:
        with contextlib.suppress(ObjectNotFound):
            insist(lambda: self._client.delete(one[0], one[2], namespace=one[1]))

    def _edit(self, one: Id, edit: Callable[[Raw], object]) -> Raw | None:
        """Read, edit and write; None: it is not there."""

        def attempt() -> Raw | None:
            raw = self._get(one)
            if raw is None:
                return None
            edit(raw)
            return self._client.replace(one[0], raw)

        with contextlib.suppress(ObjectNotFound):
            return insist(attempt)
        return None

    def _cause(self, key: ObjectKey, resource: Resource, random: Random) -> None:
        if resource in _UNWATCHED:
            self.touch(key, random)

    def _stand(self, one: Id, put: Callable[[], Raw | None]) -> None:
        """Have a stranger's object stand, also when the controller was about to write there."""
        for _ in range(10):
            raw = put()
            time.sleep(_STANDS_S)
            if raw is not None and self._get(one) == raw:
                self._inputs.strangers[one] = raw
                return


def _where(key: ObjectKey) -> tuple[str, str]:
    return key.namespace, key.name


def _in_order(tasks: Sequence[Callable[[], None]]) -> None:
    for task in tasks:
        task()


_OF_CLASSES = ("define", "undefine")
_OF_SECRETS = ("rotate", "forget")
_OFTEN = ("create", "respecify", "reschedule", "label", "touch", "recreate", "report", "recover")
_ON_CHILDREN = ("delete_child", "edit_child", "strip_child", "add_orphan", "usurp", "give_away")
#: Names of changes; what people do often is there more than once.
NAMES = (
    *(3 * _OFTEN),
    *(2 * _ON_CHILDREN),
    *("delete", "delete", "fail", "remove_stranger", "remove_stranger"),
    *("define", "define", "undefine", "rotate", "rotate", "forget"),
)
