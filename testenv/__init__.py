"""The project in a cluster for trying out: `make deploy-local` and what follows."""
