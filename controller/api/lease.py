"""What controller and runner tell each other on the runner's Lease: its annotations.

Both write one object, and neither watches it: the runner sees what is there with
each renewal, the controller asks before it acts.
"""

#: The runner's: until when the running job may go on; absent while none runs. The controller does
#: not change a pod's template while it lies ahead and the Lease is fresh.
BUSY_UNTIL = "db-backup.nect.com/busy-until"
#: The controller's: look whether the object is being deleted with its backups. It orders nothing:
#: whoever may write a Lease could set it.
DELETION_MARK = "db-backup.nect.com/deletion-asked"
