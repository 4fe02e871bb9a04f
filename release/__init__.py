"""How a commit becomes a release: its version, the chart, and all of it against a local registry.

Not a part of what is released. `make version`, `make images`, `make chart`, `make push-chart`,
`make release-dry-run`.
"""
