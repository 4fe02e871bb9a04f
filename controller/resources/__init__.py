"""What has to be in a cluster for one DatabaseBackup: pure builders, one kind of child a file.

Values in, manifests out: no client, no clock, no randomness. The same values
always give the same manifest, to the byte, so that "nothing has changed" can be
seen by comparing. `desired.desired` puts them together, in the order in which
they are applied.
"""
