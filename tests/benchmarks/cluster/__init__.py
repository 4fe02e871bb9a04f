"""`make bench-controller`: the controller on a real API server, against a bare client."""
