"""Names that a server takes, and rights as it tells them."""

from __future__ import annotations

from hypothesis import strategies as st

from engines.mysql_family import grants
from engines.mysql_family.grants import Rights

names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


def rights(*lines: str) -> Rights:
    return Rights("u@%", tuple(filter(None, map(grants.parse, lines))))
