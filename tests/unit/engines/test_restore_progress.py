"""What a restore tells of itself, from the lines that pg_restore really writes."""

from __future__ import annotations

import pytest

from engines.interface import Progress
from engines.postgres.progress import Teller
from engines.postgres.restore_progress import Contents, RestoreTeller

_LISTING = """\
;
; Archive created at 2026-11-25 21:54:24 UTC
;     TOC Entries: 12
;
215; 1259 16393 TABLE public sale postgres
3374; 0 16393 TABLE DATA public sale postgres
3375; 0 16397 TABLE DATA public customer postgres
3230; 2606 16405 CONSTRAINT public sale sale_pkey postgres
3231; 1259 16410 INDEX public sale_note postgres
3232; 0 16411 INDEX ATTACH public sale_1_note postgres
3233; 2606 16412 FK CONSTRAINT public sale sale_customer_fkey postgres
3234; 0 0 COMMENT public INDEX sale_note postgres
3235; 2606 16413 CHECK CONSTRAINT public sale positive postgres
""".splitlines()


def _teller(
    told: list[Progress], *, parallel: int, tables: int = 2, contents: Contents | None = None
) -> RestoreTeller:
    return RestoreTeller(
        told.append,
        total_bytes=1000,
        tables=tables,
        contents=contents or Contents.of(_LISTING),
        parallel=parallel,
    )


def test_a_table_of_contents_is_counted_by_what_takes_time() -> None:
    assert Contents.of(_LISTING) == Contents(tables=2, indexes=1, constraints=3)
    assert Contents.of(["9; 0 1 TABLE ATTACH public sale_1 postgres"]).has_partitions


def test_data_is_told_by_bytes_and_by_the_table() -> None:
    told: list[Progress] = []
    teller = _teller(told, parallel=2)

    assert teller('pg_restore: creating TABLE "public.sale"')
    teller.moved(300)
    assert teller('pg_restore: processing data for table "public.sale"')
    teller.moved(200)
    assert teller('pg_restore: processing data for table "public.customer"')
    teller.moved(500)

    assert [(one.stage, one.done, one.total, one.detail) for one in told] == [
        ("definitions", 1, None, 'TABLE "public.sale"'),
        ("data", 300, 1000, ""),
        ("data", 300, 1000, "table 1 of 2, public.sale"),
        ("data", 500, 1000, "table 1 of 2, public.sale"),
        ("data", 500, 1000, "table 2 of 2, public.customer"),
        ("data", 1000, 1000, "table 2 of 2, public.customer"),
    ]


@pytest.mark.parametrize("tables", [0, 1])
def test_where_the_number_of_tables_is_not_known_none_is_told(tables: int) -> None:
    told: list[Progress] = []
    teller = _teller(told, parallel=2, tables=tables)

    for name in ("a", "b"):
        teller(f'pg_restore: processing data for table "public.{name}"')

    assert told[-1].detail == "table 2, public.b"


def test_workers_count_what_is_finished_once() -> None:
    told: list[Progress] = []
    teller = _teller(told, parallel=2)
    teller.build()

    for line in (
        "entering main parallel loop",
        "launching item 3230 CONSTRAINT sale sale_pkey",
        "launching item 3231 INDEX sale_note",
        'creating CONSTRAINT "public.sale sale_pkey"',
        'creating INDEX "public.sale_note"',
        "finished item 3230 CONSTRAINT sale sale_pkey",
        "finished item 3231 INDEX sale_note",
        "launching item 3233 FK CONSTRAINT sale sale_customer_fkey",
        "finished item 3233 FK CONSTRAINT sale sale_customer_fkey",
    ):
        assert teller(f"pg_restore: {line}")

    assert {(one.stage, one.total, one.unit) for one in told} == {
        ("indexes and constraints", 4, "objects")
    }
    assert [one.done for one in told] == [0, 0, 0, 1, 2, 2, 3]
    assert told[2].detail == "CONSTRAINT sale sale_pkey, INDEX sale_note"
    assert told[-1].detail == ""


@pytest.mark.parametrize(
    ("contents", "stage"),
    [
        (Contents(indexes=2), "indexes"),
        (Contents(constraints=6), "constraints"),
        (Contents(), "the rest"),
    ],
)
def test_kinds_that_there_are_none_of_are_not_told(contents: Contents, stage: str) -> None:
    told: list[Progress] = []
    teller = _teller(told, parallel=1, contents=contents)

    teller.build()

    assert (told[-1].stage, told[-1].total) == (stage, contents.indexes + contents.constraints)


def test_without_workers_an_entry_is_done_when_the_next_one_begins() -> None:
    told: list[Progress] = []
    teller = _teller(told, parallel=1)
    teller.build()

    teller('pg_restore: creating CONSTRAINT "public.sale sale_pkey"')
    teller('pg_restore: creating INDEX "public.sale_note"')
    teller('pg_restore: creating TRIGGER "public.sale t"')

    assert [one.done for one in told] == [0, 0, 1, 2]
    assert told[-1].detail.endswith('TRIGGER "public.sale t"')


@pytest.mark.parametrize(
    "line",
    [
        "pg_restore: error: could not execute query: ERROR:  permission denied",
        "pg_restore: warning: errors ignored on restore: 1",
        'creating TABLE "public.sale"',
    ],
)
def test_what_is_wrong_stays_in_the_error_text(line: str) -> None:
    told: list[Progress] = []

    assert not _teller(told, parallel=1)(line)
    assert told == []


def test_the_servers_signs_go_with_the_stage_and_a_lock_is_seen_at_once() -> None:
    told: list[Progress] = []
    teller = Teller(told.append)
    teller.report(Progress(stage="dump", done=7, detail="sale"))

    teller.sign(at_work="", waits=True)
    teller.sign(at_work="building index 40 %", waits=False)

    assert [(one.stage, one.done, one.detail, one.signs) for one in told] == [
        ("dump", 7, "sale", 0),
        ("dump, waiting for a lock", 7, "sale", 1),
        ("dump", 7, "sale; building index 40 %", 2),
    ]
    assert len(set(told)) == 3  # each is a sign of life

    teller.report(Progress(stage="analyze", done=1, detail="customer"))

    assert told[-1].detail == "customer", "no index is built any more"
