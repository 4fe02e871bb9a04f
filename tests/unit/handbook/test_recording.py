"""The picture of a run of the demo."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from handbook import recording

PRINTED = """
== starting PostgreSQL

$ backup-now
backup a succeeded in 1 s <of & it>

== dropping the database shop

$ restore --at now
restore a succeeded

$ runner list
ID

== Proven: every row is there. In 1 s.
"""


def test_it_shows_the_backup_the_loss_the_restore_and_the_proof() -> None:
    picture = ET.fromstring(recording.picture(PRINTED))

    texts = [text.replace("\N{NO-BREAK SPACE}", " ").strip() for text in picture.itertext()]
    shown = [text for text in texts if text in PRINTED and text]
    assert shown == [
        "$ backup-now",
        "backup a succeeded in 1 s <of & it>",
        "== dropping the database shop",
        "$ restore --at now",
        "restore a succeeded",
        "== Proven: every row is there. In 1 s.",
    ]


def test_nothing_of_it_is_loaded_from_elsewhere() -> None:
    committed = recording.PICTURE.read_text()

    assert "Proven" in committed
    assert committed.count("http") == 1, "the name space alone"


@pytest.mark.parametrize("part", ["$ backup-now", "$ runner list", "== Proven"])
def test_a_run_that_lacks_a_part_is_no_recording(part: str) -> None:
    with pytest.raises(ValueError, match="substring"):
        recording.picture(PRINTED.replace(part, ""))
