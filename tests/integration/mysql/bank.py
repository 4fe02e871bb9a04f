"""Accounts whose money moves all the time, and is never more or less: what one instant shows."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from tests.servers.mysql import MysqlServer

ACCOUNTS = 8
MONEY = 100_000
#: What there is in all.
TOTAL = ACCOUNTS * 100 * MONEY


def fill_accounts(server: MysqlServer, database: str) -> None:
    """Money in tables of about the same size, so that they are spread over all streams."""
    for number in range(ACCOUNTS):
        server.run(
            f"CREATE TABLE account{number} (id INT PRIMARY KEY, money INT, t TEXT)",
            f"INSERT INTO account{number} SELECT id, {MONEY}, t FROM a LIMIT 100",
            database=database,
        )


@contextlib.contextmanager
def transfers(
    server: MysqlServer, database: str, writers: int = 3, pause_s: float = 0
) -> Iterator[list[int]]:
    """Money moves between tables all the time, and none is made or lost; counts what was moved."""
    stop = threading.Event()
    moved = [0] * writers

    def write(writer: int) -> None:
        with server.connect(database) as connection, connection.cursor() as cursor:
            number = writer
            while not stop.is_set():
                number += 1
                source, target = number % ACCOUNTS, (number * 3 + 1) % ACCOUNTS
                row = 1 + writer + writers * (number % 30)  # no two wait for each other
                connection.begin()
                cursor.execute(f"UPDATE account{source} SET money = money - 1 WHERE id = {row}")
                cursor.execute(f"UPDATE account{target} SET money = money + 1 WHERE id = {row}")
                connection.commit()
                moved[writer] += 1
                stop.wait(pause_s)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    try:
        while not all(moved):
            time.sleep(0.01)
        yield moved
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def money(server: MysqlServer, database: str) -> int:
    parts = " + ".join(f"(SELECT SUM(money) FROM account{n})" for n in range(ACCOUNTS))
    ((total,),) = server.run(f"SELECT {parts}", database=database)
    return int(total)
