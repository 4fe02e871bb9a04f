"""What one owner has in a location, sorted by when a deletion of everything takes it.

What is not of the documented form is nobody's here: a newer version's, a
person's, or of a prefix that somebody nested. It is named and never deleted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from attrs import frozen

from runner.repository.layout import BackupId, Layout


@frozen(kw_only=True)
class Holdings:
    """Keys below an owner's folder.

    Args:
        manifests, data: of backups that go, and of jobs that never committed.
        records: index and state.
        kept: of backups that stay.
        strangers: whatever else there is, `_owner.json` apart.
    """

    manifests: tuple[str, ...]
    data: tuple[str, ...]
    records: tuple[str, ...]
    kept: tuple[str, ...]
    strangers: tuple[str, ...]

    def in_order(self) -> Iterator[tuple[str, ...]]:
        """What goes, one after the other: what is cut off in between is no backup any more."""
        yield from (self.manifests, self.data, self.records)


def holdings(layout: Layout, keys: Iterable[str], *, kept: Collection[BackupId] = ()) -> Holdings:
    """Sort the keys that a listing of the owner's folder gave.

    Args:
        kept: backups that stay, with their data.
    """
    sorts: dict[str, list[str]] = {
        "manifests": [],
        "data": [],
        "records": [],
        "kept": [],
        "strangers": [],
    }
    for key in keys:
        if key == layout.owner:
            continue
        committed, stored = layout.backup_id_of_manifest(key), layout.backup_id_of_data(key)
        if (committed or stored) in kept:
            sorts["kept"].append(key)
        elif committed:
            sorts["manifests"].append(key)
        elif stored:
            sorts["data"].append(key)
        elif key in {layout.index, layout.state}:
            sorts["records"].append(key)
        else:
            sorts["strangers"].append(key)
    return Holdings(**{name: tuple(found) for name, found in sorts.items()})
