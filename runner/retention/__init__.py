"""Which backups stay: a pure decision with reasons, and its effects."""
