"""Fixtures for all tests; the servers start when a test first asks for one."""

pytest_plugins = ["tests.servers.fixtures", "tests.servers.postgres_fixtures"]
