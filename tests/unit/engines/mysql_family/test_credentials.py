"""Option files, which hold the password."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from controller.api.errors import RetriableError
from engines.mysql_family import credentials
from engines.mysql_family.credentials import Files


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_a_value_of_an_option_file_stays_one_line(value: str) -> None:
    text = credentials.option_file({"client": [("password", value)]})

    assert text.count("\n") == 2
    assert text.startswith('[client]\npassword="')


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
