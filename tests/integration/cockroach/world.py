"""One database of a cluster, its locations and its configuration; see `jobs.world`."""

from __future__ import annotations

from typing import Any

from attrs import define

from tests.integration.jobs.world import World
from tests.servers.cockroach.server import CockroachServer
from tests.servers.cockroach.standin import StandIn

PASSPHRASE = "correct horse battery staple"


@define(kw_only=True, eq=False)
class CockroachWorld(World):
    """Everything of one test."""

    server: CockroachServer  # type: ignore[assignment]

    @property
    def stand_in(self) -> StandIn:
        """What a test does to the server; there is nothing of that for a real one."""
        assert self.server.stand_in is not None
        return self.server.stand_in

    def _section(self) -> tuple[str, dict[str, Any]]:
        return "cockroach", {
            "database": self.database,
            "host": self.server.host,
            "port": self.server.port,
            "user": self.server.user,
        }

    def encrypt(self, passphrase: str = PASSPHRASE, **further: Any) -> None:
        """Configure all locations with one passphrase."""
        fields = {"encryptionPass": {"value": passphrase}, **further}
        self.configure(locations={place.name: fields for place in self.places})

    def put(self, key: str, value: str) -> None:
        self.server.put(self.database, key, value)

    def chains(self, place: str = "") -> list[str]:
        """Folders below `_data/` that hold anything, in one place or all."""
        places = [self.place(place)] if place else self.places
        found = {
            key.split("/_data/")[1].split("/")[0]
            for one in places
            for key in one.all_keys()
            if "/_data/" in key
        }
        return sorted(found)

    def layer(self, backup_id: str, place: str = "") -> dict[str, Any]:
        """What a backup's manifest says of its place in a chain."""
        import json

        one = self.place(place) if place else self.places[0]
        manifest: dict[str, Any] = json.loads(one.read(f"db/shop/_manifests/{backup_id}.json"))
        found: dict[str, Any] = manifest["layer"]
        return found

    def _leftovers_on_server(self) -> list[str]:
        found = [f"database {name}" for name in self.server.databases() if name.startswith("dbb_")]
        if self.server.stand_in is not None:
            jobs = self.server.stand_in.jobs.all()
            found += [f"job {job.id} {job.status}" for job in jobs if not job.ended.is_set()]
        return found
