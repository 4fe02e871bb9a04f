"""Parts of a manifest that are not ours to know: passed on as they stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NewType

#: An object of Kubernetes' own API. Its server checks it where it is used; a
#: release of Kubernetes adds fields, and this project has no part in them.
RawObject = NewType("RawObject", Mapping[str, Any])
