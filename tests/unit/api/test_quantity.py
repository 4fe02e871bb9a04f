"""Amounts in the form that the API server stores."""

from __future__ import annotations

import pytest

from controller.api.quantity import amount, canonical


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("1", "1"),
        ("0", "0"),
        ("0Gi", "0"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("0.5", "500m"),
        ("1.5", "1500m"),
        ("1000M", "1G"),
        ("1500k", "1500k"),
        ("1024Mi", "1Gi"),
        ("1000Mi", "1000Mi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Ki", "512"),
        ("2048", "2048"),
        ("010", "10"),
    ],
)
def test_a_quantity_is_written_as_it_is_stored(text: str, stored: str) -> None:
    assert canonical(text) == stored
    assert canonical(stored) == stored
    assert amount(stored) == amount(text)
