CREATE DATABASE shop;
USE shop;
CREATE TABLE customer (id int PRIMARY KEY, name varchar(100) NOT NULL, since date NOT NULL);
INSERT INTO customer
  WITH RECURSIVE number (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM number WHERE i < 1000)
  SELECT i, CONCAT('customer ', i), DATE '2020-01-01' + INTERVAL i % 2000 DAY FROM number;
CREATE TABLE sale (
  id bigint AUTO_INCREMENT PRIMARY KEY,
  customer int NOT NULL,
  amount decimal(10, 2) NOT NULL,
  note text NOT NULL,
  FOREIGN KEY (customer) REFERENCES customer (id)
);
INSERT INTO sale (customer, amount, note)
  WITH RECURSIVE number (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM number WHERE i < @rows)
  SELECT 1 + i % 1000, i % 10000 / 100.0, REPEAT(SHA2(i, 256), 10) FROM number;
ANALYZE TABLE customer, sale;
