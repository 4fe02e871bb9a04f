"""Object stores behind one protocol: each SDK in its own module, policies as decorators.

Belongs here: how bytes get to a store, and what its errors mean. Does not
belong here: what the keys mean (runner.repository) and what the bytes are
(runner.pipeline).
"""
