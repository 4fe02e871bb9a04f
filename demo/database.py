"""The demo's database: some sample data, and a fingerprint of every table."""

from __future__ import annotations

from collections.abc import Mapping

from tests.servers.postgres import PostgresServer

_SAMPLE = """
CREATE TABLE customer (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    email text UNIQUE,
    since date NOT NULL
);
CREATE TABLE product (
    sku text PRIMARY KEY,
    title text NOT NULL,
    price numeric(10, 2) CHECK (price > 0)
);
CREATE TABLE sale (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer int NOT NULL REFERENCES customer,
    sku text NOT NULL REFERENCES product,
    at timestamptz NOT NULL,
    quantity int NOT NULL
);
CREATE INDEX ON sale (customer, at);
CREATE VIEW best_seller AS SELECT sku, sum(quantity) AS sold FROM sale GROUP BY sku;
INSERT INTO customer (name, email, since)
    SELECT 'Customer ' || i, 'customer' || i || '@example.org', date '2020-01-01' + i % 2000
    FROM generate_series(1, 20000) i;
INSERT INTO product
    SELECT 'SKU-' || i, 'Thing number ' || i, (i % 500 + 1)::numeric / 4
    FROM generate_series(1, 2000) i;
INSERT INTO sale (customer, sku, at, quantity)
    SELECT i % 20000 + 1, 'SKU-' || (i * 7 % 2000 + 1),
           timestamptz '2026-01-01' + i * interval '1 min', i % 9 + 1
    FROM generate_series(1, 300000) i;
"""


def load(server: PostgresServer) -> None:
    with server.connect() as connection:
        connection.execute("CREATE DATABASE shop")
    with server.connect("shop") as connection:
        connection.execute(_SAMPLE)


def drop(server: PostgresServer) -> None:
    with server.connect() as connection:
        connection.execute("DROP DATABASE shop WITH (FORCE)")


def fingerprint(server: PostgresServer) -> Mapping[str, tuple[int, str]]:
    """Table -> its number of rows, and a checksum over all of them in any order."""
    found = {}
    with server.connect("shop") as connection:
        tables = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
        ).fetchall()
        for (table,) in tables:
            (row,) = connection.execute(
                "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0)::text "
                f'FROM "{table}" t'
            ).fetchall()
            found[table] = (row[0], row[1])
    return found
