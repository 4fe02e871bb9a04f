from __future__ import annotations

import pytest

from tests.servers.helm import Helm, find_helm
from tests.servers.provider import ServerMissing, skip_or_fail


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    try:
        return Helm(find_helm(), tmp_path_factory.mktemp("helm"))
    except ServerMissing as missing:
        skip_or_fail(missing)
