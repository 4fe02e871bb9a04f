"""MariaDB: see engines.mysql_family."""
