"""Definitions with texts and names that look like other parts of a definition."""

from __future__ import annotations

from tests.integration.mysql.indexes import BY_A, BY_B, COLUMNS, keyed
from tests.integration.mysql.shapes import text

#: In a text or a name: the ends of all that a table's definition is made of.
EVIL = (
    "a',\n  KEY `x` (`y`),\n  UNIQUE KEY `u` (`v`),\n  PRIMARY KEY (`w`),\n  CONSTRAINT `c` FOREIGN"
    ' KEY (`z`) REFERENCES `w` (`v`)\n) ENGINE=InnoDB;\n/*!50000 "it\\\'s" -- (`\\'
)
#: Where a text may stand in a definition, between two plain keys.
PLACES = {
    "a default": "c VARCHAR(500) DEFAULT {text}",
    "a default of an expression": "c VARCHAR(500) DEFAULT (CONCAT({text}, 'x'))",
    "a column's comment": "c INT COMMENT {text}",
    "a member": "c ENUM('x', {text}) DEFAULT {text}",
    "a check": "CONSTRAINT c CHECK (b <> {text} AND (a) > -(1))",
    "a column's check": "c VARCHAR(500) CHECK (c <> {text})",
    "a virtual column": "c VARCHAR(500) AS (CONCAT(b, {text})) VIRTUAL, KEY c (c(99))",
    "a stored column": "c VARCHAR(500) AS (CONCAT(b, {text})) STORED, KEY c (c(99))",
    "a plain key's comment": "KEY c (a) COMMENT {text}",
    "a unique key's comment": "UNIQUE KEY c (a, id) COMMENT {text}",
    "a full text key's comment": "FULLTEXT KEY c (b) COMMENT {text}",
    "a key of an expression": "KEY c ((CONCAT(b, {text})))",
}
OPTIONS = {
    "a table's comment": "COMMENT = {text}",
    "a partition's comment": "PARTITION BY HASH (id) (PARTITION p COMMENT = {text})",
    "a list of values": "PARTITION BY LIST COLUMNS (b) (PARTITION p VALUES IN ({text}, 'x'),"
    " PARTITION q VALUES IN ('one', 'two', 'to', NULL))",
}
_BOTH = {"a": BY_A, "ba": BY_B}
TEXTS = (
    *(
        keyed(
            f"text of {place}",
            f"KEY ba (b, a), {made.replace('{text}', text(EVIL))}, KEY a (a)",
            finds=_BOTH,
            family="mysql" if "((" in made and made.startswith("KEY") else "",
        )
        for place, made in PLACES.items()
    ),
    *(
        keyed(
            f"text of {place}",
            "KEY ba (b, a), KEY a (a)",
            finds=_BOTH,
            options=made.replace("{text}", text(EVIL)),
            columns="id INT, a INT, b VARCHAR(300)" if "LIST" in made else COLUMNS,
        )
        for place, made in OPTIONS.items()
    ),
    keyed(
        "text of 4 bytes",
        "KEY ba (b, a) COMMENT 'ü数', c VARCHAR(9) DEFAULT '🐘`,', d VARCHAR(9) AS (CONCAT(b,"
        " '数')),"
        " KEY d (d), CHECK (b <> '(数'), KEY a (a) COMMENT '\\\\', KEY c (c) COMMENT '`)'",
        finds=_BOTH,
    ),
    keyed(
        "text of other character sets",
        "KEY ba (b, a), c VARCHAR(9) CHARACTER SET gbk DEFAULT '誠', d VARCHAR(9) CHARACTER SET"
        " latin1"
        " DEFAULT 'ü`', e VARBINARY(9) DEFAULT X'E427', CHECK (d <> _latin1 'KEY'), KEY c (c,"
        " d, e),"
        " KEY a (a)",
        options="DEFAULT CHARSET = ucs2",
        finds=_BOTH,
    ),
)
#: What a name may be: of a table, a column, a key, a constraint or a partition.
NAMES = (
    "`",
    "a`` b`",
    'it\'s "so"',
    "\\",
    "),(",
    "x\n  KEY `x` (`y`),",
    "x`\n) ENGINE=InnoDB",
    "x\n)",
    "; DROP TABLE x",
    ";\nINSERT INTO `t` VALUES (1)",
    "/*!50000 x",
    "/* x",
    "*/",
    "-- x",
    "# x",
    "KEY",
    "CONSTRAINT `x` FOREIGN KEY (`y`)",
    "FULLTEXT",
    "100%s {0} $1 \\1",
    "数" * 64,
    "`" * 64,
)
