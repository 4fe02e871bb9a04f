"""Every manifest that the codec's tests refuse, as a whole object: for the schema, too.

Each with the path of the field that is wrong, or None where several are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.builders import a_backup_manifest, a_class_manifest, a_location_manifest, nested
from tests.unit.api.test_bad_input import BACKUP_CASES
from tests.unit.api.test_bad_locations import LOCATION_CASES, SPEC_CASES
from tests.unit.api.test_bad_runner import RUNNER_CASES

#: What no API server can know: which cron fires, today's names of time zones, and how deep it is
#: in what it does not look into.
CODEC_ALONE = [
    {"backupCron": "0 3 * *"},
    {"backupCron": "0 0 3 * * *"},
    {"backupCron": "61 * * * *"},
    {"backupCron": "0 25 * * *"},
    {"backupCron": "0 0 30 2 *"},
    {"timeZone": "Europe/Atlantis"},
    {"runner": {"affinity": nested(33)}},
]


def bad_manifests() -> Iterator[tuple[dict[str, Any], str | None]]:
    """All but those of CODEC_ALONE."""
    for change, path, _ in (*BACKUP_CASES, *RUNNER_CASES):
        if change not in CODEC_ALONE:
            yield a_backup_manifest(**change), path and f"spec.{path}"
    for location, path, _ in LOCATION_CASES:
        locations = [a_location_manifest(storageBucket="first"), location]
        at = "spec.backupLocations[1]" + (f".{path}" if path else "")
        yield a_class_manifest(backupLocations=locations), at
    for spec, message in SPEC_CASES:
        path = message.partition(": ")[0] if ": " in message else ""
        yield a_class_manifest() | {"spec": spec}, f"spec.{path}".removesuffix(".")
