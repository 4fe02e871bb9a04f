"""The documentation as a site: what of it is generated, and how the pages of docs/ become one.

Belongs here: what `make generate` and `make docs` run. Does not belong here: text,
which is in docs/, and anything that the product needs; nothing imports this.
"""
