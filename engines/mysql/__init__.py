"""MySQL: see engines.mysql_family."""
