"""A server for the tests of the engine cockroach: the real one, or a stand-in for it.

The stand-in is not CockroachDB and proves nothing about it: it speaks the wire protocol, answers
the statements that the engine sends with the texts that a real server was seen to give, and really
writes and reads objects. What only a real one can show is shown where there is one: see `real`.
"""
