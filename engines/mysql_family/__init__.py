"""What MySQL and MariaDB share: dumps by their own client, restored beside and swapped in.

Belongs here: SQL that both understand, and the differences as fields of
`family.Family`. The driver (PyMySQL) is imported by `connection` alone. Not an
engine by itself: `engines.mysql` and `engines.mariadb` are.
"""
