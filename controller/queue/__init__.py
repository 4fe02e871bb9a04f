"""Which key is worked on next, and when: a queue and its rate limits.

It knows keys only, and neither what they name nor what is done about them.
"""
