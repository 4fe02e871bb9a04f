"""Views, routines, triggers and events: their definitions are kept, and changed in the head."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from controller.api.errors import BackupError, FormatError
from engines.mysql_family import definitions
from engines.mysql_family.objects import KINDS, Context, Definition, trigger_body
from tests.unit.engines.mysql_family.samples import names

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


@pytest.mark.parametrize("definer", ["`a`@`b`", '"a"@"b"', '"a`"" "@"%"', "`role`", '"role"'])
@pytest.mark.parametrize("kind", ["PROCEDURE", "AGGREGATE FUNCTION", "PACKAGE BODY"])
def test_a_definer_goes_however_its_name_is_quoted(kind: str, definer: str) -> None:
    statement = f"CREATE DEFINER={definer} {kind} \"p\"() SELECT 'DEFINER=`a`@`b` '"
    made = Definition(kind=kind, name="p", statement=statement, context=Context(), definer="a@b")

    assert made.without_definer().statement == statement.replace(f"DEFINER={definer} ", "", 1)


def test_a_definer_that_cannot_be_taken_out_is_told() -> None:
    statement = "CREATE DEFINER='a'@'b' PROCEDURE p() SELECT 1"
    made = Definition(
        kind="PROCEDURE", name="p", statement=statement, context=Context(), definer="a@b"
    )

    with pytest.raises(BackupError, match="procedure `p` does not say that it belongs to `a`@`b`"):
        made.without_definer()


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
