"""The transport to an API server: paths, content types, streams, error mapping.

A leaf that the runner imports, too. It knows nothing of this project's kinds.
"""
