"""What of an archive is restored at once, and what one after the other."""

from __future__ import annotations

from pathlib import Path

from engines.postgres.build_order import BuildOrder

LISTING = """\
;
; Archive created at 2026-11-23 10:00:00 UTC
;     TOC Entries: 12
;
210; 1259 16385 TABLE app event postgres
3300; 0 16385 TABLE DATA app event_rest postgres
3201; 2606 16400 CONSTRAINT app event event_pkey postgres
3202; 1259 16401 INDEX app event_note postgres
3210; 0 0 INDEX ATTACH app event_2026_pkey postgres
3203; 1259 16402 INDEX app late postgres
3211; 0 0 INDEX ATTACH app event_2026_0_pkey postgres
3220; 2606 16410 FK CONSTRAINT app sale sale_event_fkey postgres
3230; 0 0 ACL app TABLE event postgres
""".splitlines()


def noted(folder: Path, listing: list[str]) -> BuildOrder:
    order = BuildOrder(folder)
    assert list(order.noting(listing)) == listing
    return order


def lists(order: BuildOrder) -> list[list[str]]:
    files = [options[0].removeprefix("--use-list=") for options in order.steps(parallel=4)]
    return [Path(file).read_text().split() for file in files]


def test_attaching_has_a_step_of_its_own_and_what_needs_it_comes_after(tmp_path: Path) -> None:
    order = noted(tmp_path, LISTING)

    assert lists(order) == [
        ["210;", "3300;", "3201;", "3202;"],
        ["3210;", "3203;", "3211;"],
        ["3220;", "3230;"],
    ]
    assert [options[1:] for options in order.steps(parallel=4)] == [
        ("--jobs=4",),
        (),
        ("--jobs=4",),
    ]


def test_one_worker_and_what_has_no_partitions_need_no_order(tmp_path: Path) -> None:
    assert noted(tmp_path, LISTING).steps(parallel=1) == (("--jobs=1",),)
    plain = [line for line in LISTING if "ATTACH" not in line]
    assert noted(tmp_path, plain).steps(parallel=4) == (("--jobs=4",),)
