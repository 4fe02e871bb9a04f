"""`make cluster-up`, `make cluster-down`."""

from __future__ import annotations

import sys

from tests.servers.node.machine import NotUp, of_this_machine
from tests.servers.provider import HOW_TO_GET, ServerMissing


def main(arguments: list[str]) -> int:
    if arguments not in (["up"], ["down"]):
        print("usage: python -m tests.servers.node up|down", file=sys.stderr)
        return 2
    try:
        node = of_this_machine()
        if arguments == ["down"]:
            node.down()
            return 0
        node.up()
    except ServerMissing as missing:
        print(f"{missing}; to get what is missing: {HOW_TO_GET}", file=sys.stderr)
        return 1
    except NotUp as error:
        print(error, file=sys.stderr)
        return 1
    print(f"export KUBECONFIG={node.kubeconfig}")
    print("# next: kubectl get nodes; its end: make cluster-down")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
