"""What the engines of MySQL and MariaDB decide without a server."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from controller.api.errors import BackupError, FormatError, InvalidSpec, RetriableError
from engines import registry
from engines.interface import InitOptions, StreamName
from engines.mysql_family import (
    credentials,
    definitions,
    grants,
    sequences,
    streams,
    tools,
    versions,
    views,
)
from engines.mysql_family.catalogue import Identity, Table
from engines.mysql_family.credentials import Files
from engines.mysql_family.grants import Rights
from engines.mysql_family.objects import KINDS, Context, Definition, trigger_body
from engines.mysql_family.quoting import identifier, schema_pattern
from engines.mysql_family.target import kept_name, kept_pattern
from engines.mysql_family.text import Text, unchecked
from tests.builders import a_section
from tests.fakes.streams import MemoryReader

names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


def rights(*lines: str) -> Rights:
    return Rights("u@%", tuple(filter(None, map(grants.parse, lines))))


def a_table(name: str, kind: str = "BASE TABLE") -> Table:
    return Table(name=name, kind=kind, engine="InnoDB")


@given(
    st.dictionaries(names, st.integers(0, 1 << 40), max_size=40),
    st.sets(names, max_size=3),
    st.integers(1, 8),
)
def test_each_table_is_in_one_stream_and_names_that_look_alike_are_together(
    sizes: dict[str, int], sequences: set[str], parallel: int
) -> None:
    found = [a_table(name) for name in sizes]
    found += [a_table(name, "SEQUENCE") for name in sequences if name not in sizes]

    planned = streams.plan(found, sizes, parallel)

    everywhere = [table for share in planned.values() for table in share]
    assert sorted(everywhere, key=lambda t: t.name) == sorted(found, key=lambda t: t.name)
    assert streams.are_whole((*planned, streams.OBJECTS))
    assert len(planned.keys() - {streams.SEQUENCES}) <= parallel
    assert next(iter(planned)) == streams.SEQUENCES or streams.SEQUENCES not in planned
    place = {t.name.encode().lower(): name for name, share in planned.items() for t in share
             if t.kind != "SEQUENCE"}  # fmt: skip
    for name, share in planned.items():
        for table in share:
            assert table.kind == "SEQUENCE" or place[table.name.encode().lower()] == name


def test_streams_are_of_about_the_same_size() -> None:
    sizes = {f"t{number}": 1000 - number for number in range(100)}

    planned = streams.plan([a_table(name) for name in sizes], sizes, 4)

    filled = [sum(sizes[table.name] for table in share) for share in planned.values()]
    assert max(filled) - min(filled) < 1000
    assert list(planned) == ["dump-000", "dump-001", "dump-002", "dump-003"]


@pytest.mark.parametrize(
    ("found", "are_whole"),
    [
        (("dump", "objects"), True),
        (("dump-000", "dump-001", "objects"), True),
        (("sequences", "dump-000", "dump-001", "objects"), True),
        (("dump",), False),
        (("objects",), False),
        (("sequences", "objects"), False),
        (("dump", "dump-000", "objects"), False),
        (("dump-000", "objects"), False),
        (("dump-000", "other", "objects"), False),
    ],
)
def test_which_streams_make_a_backup(found: tuple[StreamName, ...], are_whole: bool) -> None:
    assert streams.are_whole(found) == are_whole


def test_a_tool_has_begun_when_it_has_told_of_a_table() -> None:
    text = Text()
    for said in (b"-- MySQL dump 10.13\n--\n", b"-- Server version 9.7\n\n/*!50503 SET x */;\n"):
        text.feed(said)
        assert not text.has_begun
    text.feed(b"\n--\n-- Table str")
    assert not text.has_begun
    text.feed(b"ucture for table `t`\n")
    assert text.has_begun


@pytest.mark.parametrize(
    ("line", "has"),
    [
        ("GRANT ALL PRIVILEGES ON *.* TO `u`@`%` IDENTIFIED BY PASSWORD '*1'", True),
        ("GRANT SELECT, TRIGGER ON `shop`.* TO `u`@`%`", True),
        ("GRANT SELECT, TRIGGER ON `sh_p`.* TO `u`@`%`", True),
        (r"GRANT SELECT, TRIGGER ON `sh\_p`.* TO `u`@`%`", False),
        ("GRANT TRIGGER ON `sh%`.* TO `u`@`%` WITH GRANT OPTION", True),
        ("GRANT SELECT, TRIGGER ON `shop`.`a` TO `u`@`%`", False),
        ("GRANT SELECT (`id`, `TRIGGER`), INSERT ON `shop`.`a` TO `u`@`%`", False),
        ("GRANT USAGE ON *.* TO `u`@`%`", False),
        ("GRANT SELECT ON `shop`.* TO `u`@`%`", False),
        ("GRANT TRIGGER ON `other`.* TO `u`@`%`", False),
        ("GRANT `TRIGGER`@`%` TO `u`@`%`", False),
        ("GRANT PROXY ON ''@'%' TO 'u'@'%' WITH GRANT OPTION", False),
        ("GRANT EXECUTE ON PROCEDURE `shop`.`p` TO `u`@`%`", False),
        ('GRANT TRIGGER ON "shop".* TO "u"@"%"', True),
    ],
)
def test_a_line_of_show_grants_gives_what_it_says(line: str, has: bool) -> None:
    assert rights(line).on_schema("TRIGGER", "shop") is has


@pytest.mark.parametrize(
    ("name", "has"), [("sh_p", True), (r"sh\_p", False), ("sh%", False), ("sh_x", False)]
)
def test_with_partial_revokes_the_name_in_a_grant_is_the_schema_s(name: str, has: bool) -> None:
    line = grants.parse(f"GRANT TRIGGER ON `{name}`.* TO `u`@`%`")
    assert line is not None

    assert Rights("u@%", (line,), is_literal=True).on_schema("TRIGGER", "sh_p") is has


def test_a_partial_revoke_wins_over_what_was_given_everywhere() -> None:
    given_ = rights("GRANT SELECT ON *.* TO `u`@`%`", "REVOKE SELECT ON `shop`.* FROM `u`@`%`")

    assert not given_.on_schema("SELECT", "shop")
    assert given_.on_schema("SELECT", "other")
    assert given_.on_server("SELECT")


@given(names)
def test_the_pattern_of_a_grant_means_that_schema_alone(name: str) -> None:
    line = f"GRANT SELECT ON {schema_pattern(name)}.* TO `u`@`%`"

    assert rights(line).on_schema("SELECT", name)
    assert not rights(line).on_schema("SELECT", name + "x")


@given(st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=64))
def test_the_dated_name_fits_and_its_grant_matches_it(name: str) -> None:
    from datetime import UTC, datetime

    kept = kept_name(name, datetime(2026, 11, 26, tzinfo=UTC))

    assert len(kept) <= 64
    assert rights(f"GRANT ALL PRIVILEGES ON {kept_pattern(name)}.* TO `u`@`%`").on_schema(
        "DROP", kept
    )


contexts = st.builds(Context, sql_mode=st.text(), connection_collation=st.text())
some_definitions = st.lists(
    st.builds(
        Definition,
        kind=st.sampled_from(KINDS),
        name=names,
        statement=st.text(st.characters(exclude_categories=["Cs"])),
        context=contexts,
        table=names,
        is_broken=st.booleans(),
    ),
    max_size=4,
)


@given(some_definitions)
def test_definitions_come_back_as_they_were_written(found: list[Definition]) -> None:
    assert definitions.decode(definitions.encode(found)) == found


@given(some_definitions, st.data())
def test_nothing_can_be_changed_added_or_cut_unnoticed(
    found: list[Definition], data: st.DataObject
) -> None:
    whole = definitions.encode(found)
    at = data.draw(st.integers(0, len(whole)))

    for other in (whole[:at], whole[:at] + b"\nDROP DATABASE x;\n" + whole[at:]):
        if other == whole:
            continue
        try:
            decoded = definitions.decode(other)
        except FormatError:
            continue
        # Within a statement of the same length it may say another thing; never between.
        assert definitions.encode(decoded) == other


EVENT = (
    "CREATE DEFINER=`a``b`@`%` EVENT `ON COMPLETION PRESERVE ENABLE` ON SCHEDULE EVERY 1 DAY "
    "STARTS '2030-01-01 00:00:00' ON COMPLETION NOT PRESERVE {} COMMENT 'ENABLE' DO SELECT 'ENABLE'"
)


@pytest.mark.parametrize("state", ["ENABLE", "DISABLE", "DISABLE ON SLAVE", "DISABLE ON REPLICA"])
def test_an_event_is_put_asleep_by_its_head_alone(state: str) -> None:
    event = Definition(
        kind="EVENT", name="e", statement=EVENT.format(state), context=Context(), definer="a`b@%"
    )

    assert event.disabled().statement == EVENT.format("DISABLE")


def test_a_definer_is_taken_out_of_the_head_alone() -> None:
    statement = "CREATE ALGORITHM=MERGE DEFINER=`a`@`b` SQL SECURITY DEFINER VIEW `v` AS select 1"
    view = Definition(kind="VIEW", name="v", statement=statement, context=Context(), definer="a@b")

    assert view.without_definer().statement == statement.replace("DEFINER=`a`@`b` ", "")
    body = "CREATE DEFINER=`a`@`b` PROCEDURE `p`() SELECT 'CREATE DEFINER=`a`@`b` '"
    procedure = Definition(kind="PROCEDURE", name="p", statement=body, context=Context())
    assert procedure.without_definer().statement == body.replace("DEFINER=`a`@`b` ", "", 1)


@pytest.mark.parametrize(
    "head",
    [
        "CREATE DEFINER=`a`@`%` TRIGGER `# no comment v` BEFORE UPDATE ON `# no comment`",
        "CREATE TRIGGER `FOR EACH ROW` BEFORE INSERT ON `a``b`",
        'CREATE TRIGGER "say ""FOR EACH ROW""" AFTER DELETE ON "t"',
        "create trigger t before insert on FOR",
        "CREATE TRIGGER t /* FOR EACH ROW */ BEFORE INSERT -- FOR EACH ROW\nON t # FOR EACH ROW\n",
    ],
)
@pytest.mark.parametrize(
    "mark", [" FOR EACH ROW ", "\nfor each/* x */row\n", " FOR # x\nEACH ROW/**/"]
)
def test_a_triggers_body_is_what_follows_its_head(head: str, mark: str) -> None:
    body = "BEGIN SET NEW.id = 1; /* FOR EACH ROW */ END"

    assert trigger_body(f"{head}{mark}{body}", "t") == body


def test_a_trigger_without_a_head_is_told() -> None:
    with pytest.raises(BackupError, match="the trigger `t` has no FOR EACH ROW"):
        trigger_body("CREATE TRIGGER t BEFORE INSERT ON `FOR EACH ROW` SET @a = 'FOREACHROW'", "t")


def test_views_come_after_what_they_read_and_a_long_chain_is_no_matter() -> None:
    chain = {f"v{n:05}": f"select 1 from `shop`.`v{n + 1:05}`" for n in range(5000)}
    chain["v05000"] = "select '`shop`.`v00000`' from `shop`.`t`"

    assert views.in_order(chain, "shop") == sorted(chain, reverse=True)


@given(st.dictionaries(names, names, max_size=6), names)
def test_every_view_is_in_the_order_once_whatever_it_names(
    reads: dict[str, str], schema: str
) -> None:
    texts = {
        name: f"select 1 from {identifier(schema)}.{identifier(other)}"
        for name, other in reads.items()
    }

    assert sorted(views.in_order(texts, schema)) == sorted(texts)


def test_a_schema_s_name_goes_before_functions_alone() -> None:
    text = "select `shop`.`f`(1),'`shop`.`f`(1)',`shop`.`id` from (`shop` join `o`.`shop`)"

    assert views.without_schema(text, "shop") == text.replace("`shop`.`f`(1)", "`f`(1)", 1)


_NAMES = st.text(st.sampled_from("ab`\n (é日"), min_size=1, max_size=64)
_LINES = st.one_of(
    st.tuples(st.sampled_from(["TABLE", "SEQUENCE"]), _NAMES),
    st.sampled_from([(None, "(1,'x')"), (None, "INSERT INTO `a` VALUES (1)")]),
)


@given(st.lists(_LINES), st.data())
def test_what_a_dump_makes_is_seen_however_it_is_cut(
    lines: list[tuple[str | None, str]], data: st.DataObject
) -> None:
    said = [f"CREATE {kind} {identifier(name)} (" if kind else name for kind, name in lines]
    whole = ("\n" + "\n".join(said) + "\n-- Dump completed on 2026\n").encode()
    text = Text()

    while whole:
        size = data.draw(st.integers(1, 40))
        text.feed(whole[:size])
        whole = whole[size:]

    assert text.tables == [name for kind, name in lines if kind == "TABLE"]
    assert text.sequences == [name for kind, name in lines if kind == "SEQUENCE"]
    assert text.is_complete
    assert text.leaves == ""


@given(st.integers(1, 60), st.integers(0, 40))
def test_a_statement_that_leaves_the_schema_is_seen_however_the_dump_is_cut(
    size: int, rows: int
) -> None:
    lines = b"(1,'x'),\n" * rows
    whole = b"-- a dump\nINSERT INTO `a` VALUES\n" + lines + b"(1);\nuse `mysql`;\n" + lines
    text = Text()

    for at in range(0, len(whole), size):
        text.feed(whole[at : at + size])

    assert text.leaves == "use"


@given(st.integers(1, 80))
def test_a_dump_for_another_schema_is_changed_in_columns_alone(size: int) -> None:
    data = (
        b"CREATE TABLE `t` (\n  `id` int DEFAULT nextval(`shop`.`q`),\n  `b` int\n);\n"
        b"INSERT INTO `t` VALUES\n(1,'  `id` int DEFAULT nextval(`shop`.`q`)');\n-- end"
    )
    reader = sequences.Moved(MemoryReader(data, None), source="shop", schema="other")

    parts = []
    while part := reader.read(size):
        parts.append(part)

    assert b"".join(parts) == data.replace(b"nextval(`shop`.", b"nextval(`other`.", 1)


@pytest.mark.parametrize(
    ("text", "series"),
    [("10.11.18-MariaDB-0+deb12u1-log", (10, 11)), ("9.7.4-2", (9, 7)), ("8.4", (8, 4))],
)
def test_the_series_of_a_version(text: str, series: tuple[int, int]) -> None:
    assert versions.series_of(text) == series


@pytest.mark.parametrize(
    ("version", "given", "cure"),
    [
        ("11.4.5-MariaDB-log", "", "11.4.8 does: GRANT INSERT, ALTER ON *.* TO `u`@`%`;"),
        ("11.4.5-MariaDB-log", "GRANT SELECT, INSERT ON *.* TO u", ": GRANT ALTER ON *.* TO"),
        ("11.4.5-MariaDB-log", "GRANT ALL PRIVILEGES ON *.* TO u", None),
        ("10.11.9-MariaDB", "GRANT ALL PRIVILEGES ON `shop`.* TO u", "10.11.14 does: GRANT INSERT"),
        ("11.4.8-MariaDB", "", None),
        ("10.11.18-MariaDB-0+deb12u1-log", "", None),
        ("12.1.2-MariaDB", "", None),
    ],
)
def test_a_server_that_is_blind_to_rights_on_sequences_wants_them_on_everything(
    version: str, given: str, cure: str | None
) -> None:
    here = Identity(version=version, lineage="", lower_case=0, log_bin=True, trusts_creators=True)

    found = sequences.problems(here, rights(given))

    assert len(found) == (cure is not None)
    assert all(cure in problem.message for problem in found)


@pytest.mark.parametrize("version", ["8.4", "", "11.4.x", "11.4.99999"])
def test_a_version_without_its_last_number_is_none_of_a_server(version: str) -> None:
    with pytest.raises(ValueError, match="not a version of a server"):
        versions.patch_of(version)


@pytest.mark.parametrize("engine", ["mysql", "mariadb"])
@pytest.mark.parametrize("version", ["5.7", "16", "latest", "8"])
def test_a_version_that_is_no_series_is_refused_with_those_that_are(
    engine: str, version: str
) -> None:
    with pytest.raises(InvalidSpec, match=r"spec\.databaseVersion: must be a series of"):
        registry.get(engine).init(
            InitOptions(
                namespace="n",
                name="x",
                spec=a_section(engine),
                resolve=lambda value: value.value,  # type: ignore[arg-type, return-value]
                environ={},
                version=version,
            )
        )


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_a_value_of_an_option_file_stays_one_line(value: str) -> None:
    text = credentials.option_file({"client": [("password", value)]})

    assert text.count("\n") == 2
    assert text.startswith('[client]\npassword="')


@pytest.mark.parametrize(
    ("said", "is_mariadb", "version"),
    [
        ("mariadb-dump  Ver 10.19 Distrib 10.11.18-MariaDB, for debian", True, "10.11.18"),
        ("mariadb-dump from 11.8.9-MariaDB, client 10.20 for debian", True, "11.8.9"),
        ("mysqldump  Ver 9.7.4-2 for Linux on x86_64 ((Debian))", False, "9.7.4-2"),
        ("mysqldump  Ver 8.4.3 for Linux on x86_64 (MySQL Community)", False, "8.4.3"),
        ("mysqldump from 11.8.9-MariaDB, client 10.20 for debian", False, None),
        ("mysqldump  Ver 8.0.1 for Linux", True, None),
    ],
)
def test_a_tool_says_of_which_family_and_version_it_is(
    tmp_path: object, said: str, is_mariadb: bool, version: str | None
) -> None:
    from pathlib import Path

    program = Path(str(tmp_path)) / "tool"
    program.write_text(f"#!/bin/sh\necho '{said}'\n")
    program.chmod(0o755)

    assert tools._ask(program, 1, is_mariadb) == version


def test_a_head_that_is_not_known_is_no_backup() -> None:
    """Else a tool that writes it otherwise would have values lost without a word."""
    with pytest.raises(FormatError, match="SQL_MODE"):
        unchecked(
            b"-- MySQL dump 11.0\n--\n/*!40101 SET SQL_MODE=TRADITIONAL */;\n", is_mariadb=False
        )


def test_a_folder_that_has_no_room_for_options_is_said_and_leaves_no_part_of_them(
    tmp_path: Path,
) -> None:
    """The limit stands for a full disk: the system refuses the write all the same."""
    files = Files(tmp_path)
    path = files.write("a.cnf", "[client]\npassword=old\n")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, hard))
    try:
        with pytest.raises(RetriableError, match=r"cannot write a\.cnf .* make room") as told:
            files.write("a.cnf", "[client]\npassword=secret\n" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert "secret" not in str(told.value)
    assert path.read_text() == "[client]\npassword=old\n"


@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=8), size=st.integers(1, 60))
def test_the_longest_statement_is_known_however_a_dump_is_cut(
    lengths: list[int], size: int
) -> None:
    """To the byte where it is longer than a chunk; no shorter ones are taken for long."""
    dump = b"-- MySQL dump\n;\n" + b"".join(b"x" * length + b";\n" for length in lengths)
    text = Text()

    for at in range(0, len(dump), size):
        text.feed(dump[at : at + size])

    longest = max(13, *lengths)
    if longest > size:
        assert longest <= text.statement_bytes <= longest + 2
    assert text.statement_bytes <= longest + 2


@given(rows=st.integers(0, 60), size=st.integers(200, 2000))
def test_what_a_dump_makes_is_seen_among_many_rows_and_ends(rows: int, size: int) -> None:
    """More of both in a chunk than are looked for one by one."""
    names = ["a", "b", "c"]
    insert = "INSERT INTO `x` VALUES\n" + "(1,';;'),\n" * rows + "(2,'');\n"
    whole = "".join(
        f"\nCREATE TABLE `{name}` (\n  `n` int\n);\n{insert}" for name in names
    ).encode()
    text = Text()

    for at in range(0, len(whole), size):
        text.feed(whole[at : at + size])

    assert text.tables == names
    if len(insert) > 2 * size:
        assert len(insert) - 2 <= text.statement_bytes <= len(insert)
    assert text.statement_bytes <= len(insert) + 2 or rows < 3
