"""The way to a Kubernetes API server: addresses, credentials, requests, streams, errors.

Belongs here: what is true of every kind of object - paths, verbs, content
types, time limits, what an answer's status means. Objects are raw JSON, as
dicts. Does not belong here: what an object means, when to ask again after an
error, and what to keep in memory; those are the callers'.

A leaf that knows `controller.api` and `controller.throttle` alone, because the runner uses it too.
"""
