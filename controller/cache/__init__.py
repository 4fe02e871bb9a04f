"""What is known of the cluster: each kind listed once, then watched, and indexed.

A reconcile reads a dozen objects; asking the API server for each would make a
thousand objects cost it a dozen thousand requests at every resync. Caches are
late, never wrong for long: whoever reads them acts on the whole state, again.

It knows objects as raw values and as what a projection made of them, and
neither what they mean nor who is told.
"""
