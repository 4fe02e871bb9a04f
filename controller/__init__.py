"""The cluster side: one process per cluster that turns custom resources into runners."""
