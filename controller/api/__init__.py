"""The custom resources as values: types, codec, conditions, names, secrets, errors.

A leaf: nothing here does I/O, starts a thread or knows an SDK, so that every
other package can import it. What needs a clock gets the time passed in.
"""
