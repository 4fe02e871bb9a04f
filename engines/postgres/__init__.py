"""PostgreSQL: logical backups with its own tools, restored beside and swapped in.

Belongs here: SQL, pg_dump, pg_restore and their quirks. The driver (psycopg)
is imported by `connection` alone; the others take its connections.
"""
