"""A whole Kubernetes node as a test server: its programs, and the shut-in place where they run.

`python -m tests.servers.node up` starts it, `down` ends it by one process id. It needs
root: it has its own processes, mounts and network, and its containers are real.
"""
