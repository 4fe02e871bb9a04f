"""The database side: one process per DatabaseBackup, beside its database."""
