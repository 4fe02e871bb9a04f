"""One package per kind of database, behind one interface.

Belongs here: what knows a database's tools, SQL and quirks. Does not belong
here: compression, encryption, storage, schedules (those are the runner's) and
Kubernetes objects (the controller's).
"""
