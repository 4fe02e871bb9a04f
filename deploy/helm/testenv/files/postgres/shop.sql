CREATE DATABASE shop;
\connect shop
CREATE TABLE customer (id int PRIMARY KEY, name text NOT NULL, since date NOT NULL);
INSERT INTO customer SELECT i, 'customer ' || i, date '2020-01-01' + i % 2000
  FROM generate_series(1, 1000) i;
CREATE TABLE sale (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  customer int NOT NULL REFERENCES customer,
  amount numeric(10, 2) NOT NULL,
  note text NOT NULL
);
INSERT INTO sale (customer, amount, note)
  SELECT 1 + i % 1000, i % 10000 / 100.0, repeat(md5(i::text), 20)
  FROM generate_series(1, :rows) i;
CREATE INDEX ON sale (customer);
ANALYZE;
