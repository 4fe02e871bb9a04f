"""Two hundred objects, changed at random and at once, while everything fails that can fail.

Whatever happened: when it is over, the cluster is exactly as a slow and simple
model says, and stays so without a write. `make test-churn` runs it for longer.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, assume, seed, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.integration.controller.churn_changes import NAMES, Change
from tests.integration.controller.churn_run import FAULTS, TENANTS, Run
from tests.servers import kubernetes
from tests.servers.provider import ServerMissing, skip_or_fail

_VARIABLE = "DB_BACKUP_TEST_CHURN"
RUNS = int(os.environ.get(f"{_VARIABLE}_RUNS") or 1)
STORMS = int(os.environ.get(f"{_VARIABLE}_STORMS") or 4)
FIRST = int(os.environ.get(f"{_VARIABLE}_FIRST") or 1)

NUMBERS = st.integers(0, 2**24)
CHANGES = st.lists(st.tuples(st.sampled_from(NAMES), NUMBERS), min_size=30, max_size=60)


class Churn(RuleBasedStateMachine):
    """Chooses what is done and what fails.

    Args:
        failures: where the first one goes. Hypothesis would do everything again, to see whether it
            fails again; it takes minutes, and threads that race may have it end otherwise.
    """

    def __init__(self, folder: Path, failures: list[Exception]) -> None:
        super().__init__()
        self._folder = folder
        self._failures = failures
        self._closing = contextlib.ExitStack()
        # None: it has not begun, or is over.
        self._run: Run | None = None

    @initialize(number=NUMBERS)
    def begin(self, number: int) -> None:
        # Hypothesis tries the simplest run first, whatever the seed: that would be every second.
        assume(number)
        server = self._closing.enter_context(kubernetes.running())
        self._run = Run(server, self._folder)
        self._closing.callback(self._run.close)
        self._go_on(lambda run: run.begin(number))

    # One rule: Hypothesis leaves some rules out of a run altogether.
    @rule(
        changes=CHANGES,
        fault=st.sampled_from(FAULTS),
        tenant=st.sampled_from(TENANTS),
        is_quiet_after=st.booleans(),
    )
    def storm(
        self, changes: list[Change], fault: str, tenant: str, *, is_quiet_after: bool
    ) -> None:
        self._go_on(lambda run: run.storm(changes, fault, tenant))
        if is_quiet_after:
            self._go_on(Run.settle)

    def teardown(self) -> None:
        with self._closing:
            self._go_on(Run.judge)

    def _go_on(self, what: Callable[[Run], None]) -> None:
        if self._run is None:
            return
        try:
            what(self._run)
        except Exception as error:  # noqa: BLE001 - the test raises it
            self._failures.append(error)
            print(*self._run.notes, sep="\n")
            self._run = None


@pytest.mark.timeout(120 * (STORMS + 5))
@pytest.mark.parametrize("number", range(FIRST, FIRST + RUNS))
def test_after_all_that_the_cluster_is_as_it_has_to_be(number: int, tmp_path: Path) -> None:
    for name in ("etcd", "kube-apiserver"):
        try:
            kubernetes.find_kubernetes_program(name)
        except ServerMissing as missing:
            skip_or_fail(missing)

    failures: list[Exception] = []
    run_state_machine_as_test(
        seed(number)(lambda: Churn(tmp_path, failures)),
        settings=settings(
            max_examples=1,
            stateful_step_count=STORMS + 1,  # the first is to begin
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
    for failure in failures:
        raise failure
