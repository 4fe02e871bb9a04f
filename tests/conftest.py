"""Fixtures for all tests; the servers start when a test first asks for one."""

from tests import profiles

pytest_plugins = [
    "tests.servers.cockroach.fixtures",
    "tests.servers.fixtures",
    "tests.servers.kubernetes_fixtures",
    "tests.servers.mysql_fixtures",
    "tests.servers.postgres_fixtures",
    "tests.servers.prometheus_fixtures",
]

profiles.load()
