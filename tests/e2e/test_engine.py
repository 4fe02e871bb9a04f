"""The container engine that the tests start where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from release import docker
from tests.servers import engine
from tests.servers.fixtures import given


@pytest.mark.short
def test_what_a_killed_one_left_is_in_nobody_s_way(tmp_path: Path) -> None:
    """Its process ids are others' in the next one's view, where 1 is always there."""
    left = tmp_path / "exec" / "containerd" / "containerd.pid"
    left.parent.mkdir(parents=True)
    left.write_text("1")

    for _ in given(engine.own(tmp_path)):
        assert docker.answers()
