# Every target works on a fresh machine with Linux, Python >= 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
TOX := $(BIN)/tox run
# What images and chart are named by; of the commit that is checked out, if nobody says another one.
VERSION = $(shell $(PYTHON) -m release.version)
# Every command and every job is a process of its own: compile once, not at each start.
export UV_COMPILE_BYTECODE := 1
export PYTHONDONTWRITEBYTECODE :=
LOCK := requirements/base.txt requirements/test.txt requirements/check.txt

# Where a release goes. Names there have no upper case, which the owner of a repository may have.
REGISTRY ?=
override REGISTRY := $(shell echo '$(REGISTRY)' | tr A-Z a-z)
NEEDED_REGISTRY = $(or $(REGISTRY),$(error say where it goes: REGISTRY=registry.example.com/team))
IMAGE_PREFIX ?= $(if $(REGISTRY),$(REGISTRY)/)db-backup-controller
CHART_OPTIONS = --version '$(VERSION)' --image-repo '$(IMAGE_PREFIX)' --folder build/charts

.DEFAULT_GOAL := help
# No target is a file, but those whose names have other characters.
.PHONY: $(shell sed -n 's/^\([a-z0-9-]*\):.*/\1/p' $(firstword $(MAKEFILE_LIST)))

help:  ## List the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1@\2/p' $(MAKEFILE_LIST) | column -t -s@

demo: $(VENV)/.installed  ## Back up a real PostgreSQL to two places, lose it, bring it back (1 minute)
	@$(BIN)/python -m demo

test: $(VENV)/.installed  ## All tests: unit on every Python here, contract and integration on real servers
	$(TOX)

test-churn: RUNS := 5
test-churn: STORMS := 12
test-churn: FIRST := 1
test-churn: $(VENV)/.installed  ## The controller under random changes and faults, for longer (RUNS=5 STORMS=12 FIRST=1)
	DB_BACKUP_TEST_CHURN_RUNS=$(RUNS) DB_BACKUP_TEST_CHURN_STORMS=$(STORMS) \
		DB_BACKUP_TEST_CHURN_FIRST=$(FIRST) $(BIN)/pytest tests/integration/controller/test_churn.py

test-many-tables: TABLES := 10000
test-many-tables: $(VENV)/.installed  ## MySQL and MariaDB with very many tables (TABLES=10000)
	DB_BACKUP_TEST_MANY_TABLES=$(TABLES) $(BIN)/pytest -s --timeout=3600 tests/integration/mysql/test_many_tables.py

test-versions: SERIES := mariadb-11.4 mysql-8.4
test-versions: $(VENV)/.installed  ## MySQL and MariaDB of the series that make test leaves out: get them, and test on them (SERIES="mariadb-11.4 mysql-8.4")
	@$(BIN)/python -m tests.servers.build mysql
	DB_BACKUP_TEST_SERIES='$(SERIES)' $(BIN)/pytest -n 2 --dist loadgroup -k "mariadb or mysql" \
		tests/contract/test_engine_contract.py tests/integration/mysql

test-cockroach: $(VENV)/.installed  ## The engine cockroach on a real one: COCKROACH_IMAGE, COCKROACH_BIN or the public image
	$(BIN)/pytest tests/contract tests/integration/cockroach -k real

test-e2e: SHORT :=
test-e2e: $(VENV)/.installed  ## Images, chart and kubectl exec on a real node of Kubernetes; needs root (SHORT=1: 4 minutes)
	$(TOX) -e e2e -- $(if $(SHORT),-m short)

test-servers: $(VENV)/.installed  ## Get the servers that the tests use (MinIO, fake-gcs-server, kube-apiserver, helm, a registry, PostgreSQL)
	@$(BIN)/python -m tests.servers.build

ci-packages:  # what a hosted machine of CI lacks; by sudo
	.ci/packages

images: $(VENV)/.installed  ## Build the images with Docker; docs/images.md has the variables
	@IMAGE_PREFIX='$(IMAGE_PREFIX)' VERSION='$(VERSION)' $(BIN)/python -m release images

push-images: $(VENV)/.installed  ## The same, and push them into REGISTRY (PLATFORMS=linux/amd64,linux/arm64)
	@IMAGE_PREFIX='$(if $(NEEDED_REGISTRY),$(IMAGE_PREFIX))' VERSION='$(VERSION)' \
		$(BIN)/python -m release push-images

base-images: $(VENV)/.installed  ## The Debian that images are made of, without a registry of images
	@$(BIN)/python -m release base-images

cluster-up: $(VENV)/.installed  ## A real node of Kubernetes on this machine, until make cluster-down; needs root
	@$(BIN)/python -m tests.servers.node up

cluster-down: $(VENV)/.installed  ## End it; nothing of it stays
	@$(BIN)/python -m tests.servers.node down

deploy-local: $(VENV)/.installed  ## Build all images and install into the current context, if that is a local one (LOCAL_IMAGE=registry/name, IMAGES=)
	@$(BIN)/python -m testenv $@

deploy-testenv: $(VENV)/.installed  ## There a database with test data, MinIO and a DatabaseBackup (TESTENV_DATABASE=, TESTENV_HUGEDATA=true: 8 GB)
	@$(BIN)/python -m testenv $@

force-local-backup: $(VENV)/.installed  ## Back that database up now
	@$(BIN)/python -m testenv $@

force-local-dbdelete: $(VENV)/.installed  ## Drop it
	@$(BIN)/python -m testenv $@

force-local-restore: $(VENV)/.installed  ## Bring it back
	@$(BIN)/python -m testenv $@

check: $(VENV)/.installed  ## Lint, types, layers, links of the documentation
	$(TOX) -e lint,type,layers,docs

docs: $(VENV)/.installed  ## The documentation as a site, in build/site; a broken link is an error
	$(TOX) -e docs

docs-serve: $(VENV)/.installed  ## The same, at http://127.0.0.1:8000, following changes
	$(TOX) -e docs -- serve

bench: $(VENV)/.installed  ## The runner against the shell pipeline; rewrites its part of docs/benchmarks.md
	$(BIN)/python -m tests.benchmarks

bench-controller: $(VENV)/.installed  ## The controller against a bare client; rewrites its part of docs/benchmarks.md
	$(BIN)/python -m tests.benchmarks.cluster

generate-code: $(VENV)/.installed  # of what is generated, what the cluster gets
	@$(BIN)/python -m controller.cli crds --output deploy/crds

generate: generate-code  ## Write what is generated from the code: deploy/crds, dashboards, and parts of docs
	@$(BIN)/python -m handbook

recording: $(VENV)/.installed  # of `make demo`, for the README, when what it prints has changed
	$(BIN)/python -m handbook.recording

lock: $(VENV)/.installed  ## Resolve requirements/*.txt anew
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --upgrade \
		--extra controller --extra kubeconfig --extra runner setup.cfg -o requirements/base.txt
	for extra in controller runner; do $(BIN)/uv pip compile -q --universal --python-version 3.11 \
		--generate-hashes --upgrade --extra $$extra -c requirements/base.txt setup.cfg \
		-o requirements/$$extra.txt || exit 1; done
	for set in build test check docs; do $(BIN)/uv pip compile -q --universal --python-version 3.11 \
		--generate-hashes --upgrade requirements/$$set.in -o requirements/$$set.txt || exit 1; done

chart: $(VENV)/.installed  ## Package the chart as a release has it, into build/charts (REGISTRY=, VERSION=)
	@$(BIN)/python -m release.chart $(CHART_OPTIONS)

push-chart: $(VENV)/.installed  ## The same, and push it to oci://REGISTRY/charts
	@$(BIN)/python -m release.chart $(CHART_OPTIONS) --push '$(NEEDED_REGISTRY)/charts'

release-dry-run: $(VENV)/.installed  ## Rehearse a release: publish into a registry of this machine, install from there; needs Docker, or root
	DB_BACKUP_TEST_REQUIRE_SERVERS=1 $(BIN)/pytest tests/release/test_dry_run.py -s

test-images: $(VENV)/.installed  ## Build every image and run what is in it (5 minutes, longer the first time); needs Docker, or root
	DB_BACKUP_TEST_REQUIRE_SERVERS=1 $(BIN)/pytest tests/release/test_all_images.py -s

test-arm64: $(VENV)/.installed  ## Build the images for arm64 and run what is in them, emulated: 30 to 60 minutes; needs Docker, or root
	DB_BACKUP_TEST_REQUIRE_SERVERS=1 $(BIN)/pytest tests/release/test_arm64.py -s

version:  ## Tell the version of what is checked out, by its tag
	@$(PYTHON) -m release.version

clean:  ## Remove what the targets made here
	rm -rf $(VENV) .tox .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info

$(VENV)/.installed: $(LOCK) setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python >= 3.11 is needed; name it: make PYTHON=python3.12 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ echo "python3 -m venv does not work here: apt install python3-venv"; exit 1; }
	@echo "installing from the lock ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check uv==$(UV_VERSION)
	@$(BIN)/uv pip sync -q --python $(BIN)/python --require-hashes requirements/check.txt
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps -e . uv==$(UV_VERSION)
	@touch $@
