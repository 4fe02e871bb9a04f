"""How many examples property tests try: one profile for a run, chosen by the environment."""

from __future__ import annotations

import os

from hypothesis import settings

VARIABLE = "DB_BACKUP_TEST_HYPOTHESIS"
EXAMPLES = {"dev": 50, "ci": 500, "nightly": 5000}


def load() -> None:
    """Load the profile that the environment names, before any test is imported."""
    for name, count in EXAMPLES.items():
        # No deadline for one example: on a busy machine it measures the others.
        settings.register_profile(name, max_examples=count, deadline=None)
    chosen = os.environ.get(VARIABLE) or "dev"
    if chosen not in EXAMPLES:
        raise ValueError(f"{VARIABLE}={chosen!r} is none of {', '.join(EXAMPLES)}")
    settings.load_profile(chosen)


def fewer(share: float) -> settings:
    """For a property whose examples are costly: a share of the profile's number."""
    return settings(max_examples=max(1, round(settings.default.max_examples * share)))
