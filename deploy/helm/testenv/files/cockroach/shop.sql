CREATE DATABASE shop;
USE shop;
CREATE TABLE customer (id INT PRIMARY KEY, name STRING NOT NULL, since DATE NOT NULL);
INSERT INTO customer
  SELECT i, 'customer ' || i::STRING, DATE '2020-01-01' + (i % 2000)::INT
  FROM generate_series(1, 1000) AS number (i);
CREATE TABLE sale (
  id INT PRIMARY KEY,
  customer INT NOT NULL REFERENCES customer,
  amount DECIMAL(10, 2) NOT NULL,
  note STRING NOT NULL,
  INDEX (customer)
);
