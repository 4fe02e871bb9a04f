"""Chains: full backups with the incremental ones on them, as a database stores them by itself.

Pure, like retention: what there is and what is due next, from the catalogue's summaries. The layers
of a chain lie in one folder and need each other from the first on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from attrs import frozen

from runner.repository.index import Summary
from runner.repository.layout import BackupId

#: So many the vendor supports; each one makes a restore read one layer more.
MAX_INCREMENTALS = 48
#: A chain is kept and goes as a whole: longer ones would keep what no rule wants.
MAX_AGE = timedelta(days=7)


@frozen(kw_only=True)
class Chain:
    """The layers of one chain, without a gap, from the full backup on."""

    layers: tuple[Summary, ...]

    @property
    def id(self) -> BackupId:
        return self.layers[0].id

    @property
    def newest(self) -> Summary:
        return self.layers[-1]

    @property
    def home(self) -> str:
        """The location that the database writes to; that of the first layer is everyone's."""
        first = self.layers[0].layer
        return first.home if first else ""

    @property
    def ids(self) -> tuple[BackupId, ...]:
        return tuple(one.id for one in self.layers)


def chains(backups: Iterable[Summary]) -> tuple[Chain, ...]:
    """The chains that there are, the one with the newest state last.

    Of a chain with a gap only what lies before it: the rest cannot be restored. A number that two
    backups claim is a gap.
    """
    numbered: dict[BackupId, dict[int, list[Summary]]] = {}
    for one in backups:
        if one.layer is not None:
            of_chain = numbered.setdefault(one.layer.chain, {})
            of_chain.setdefault(one.layer.number, []).append(one)
    found = []
    for of_chain in numbered.values():
        layers: list[Summary] = []
        while len(claiming := of_chain.get(len(layers), [])) == 1:
            layers += claiming
        if layers:
            found.append(Chain(layers=tuple(layers)))
    return tuple(sorted(found, key=lambda chain: (chain.newest.coverage_end, chain.id)))


def to_extend(
    everywhere: Iterable[Summary],
    at_home: dict[str, Collection[BackupId]],
    *,
    now: datetime,
) -> Chain | None:
    """The chain that the next backup goes on with; None if a full one is due.

    Only the newest chain is gone on with, only at its home, and only if that has every layer that
    any location knows of: what is written onto less would be another chain of the same name.

    Args:
        everywhere: the backups of all locations that answer, each once.
        at_home: usable location -> ids that it holds.
    """
    known = list(everywhere)
    candidates = chains(known)
    if not candidates:
        return None
    chain = candidates[-1]
    layers = {one.id for one in known if one.layer and one.layer.chain == chain.id}
    held = at_home.get(chain.home)
    if held is None or not layers <= set(held) or len(layers) != len(chain.layers):
        return None
    if len(chain.layers) > MAX_INCREMENTALS or now - chain.layers[0].started_at >= MAX_AGE:
        return None
    return chain
