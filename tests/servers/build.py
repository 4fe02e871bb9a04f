"""What `make test-servers` runs: gets the servers that the tests use.

Programs go into the user's cache folder. Debian packages are installed only
where that is possible without asking (root, apt), and are named otherwise.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.servers import debian, postgres
from tests.servers.cache import cache_dir
from tests.servers.provider import cache_bin_dir

# Exact versions: a test that fails tomorrow shall not fail because of upstream.
GO_PROGRAMS = {
    "minio": "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c",
    "fake-gcs-server": "github.com/fsouza/fake-gcs-server@v1.56.1",
}
DEBIAN_PACKAGES = ("age", "zstd", "postgresql", "postgresql-contrib")


def main() -> int:
    results = [build_go_programs(), install_debian_packages(), unpack_postgres()]
    return 0 if all(results) else 1


def build_go_programs() -> bool:
    """Build what is missing; the first time takes some minutes."""
    target = cache_bin_dir()
    missing = {
        name: module for name, module in GO_PROGRAMS.items() if not (target / name).is_file()
    }
    for name in GO_PROGRAMS.keys() - missing.keys():
        print(f"{name}: is there ({target / name})")
    if not missing:
        return True
    if shutil.which("go") is None:
        print(f"{', '.join(missing)}: needs Go to build (https://go.dev/dl, or apt install golang)")
        return False
    target.mkdir(parents=True, exist_ok=True)
    ok = True
    for name, module in missing.items():
        print(f"{name}: go install {module}", flush=True)
        ok &= _run(["go", "install", module], GOBIN=str(target), GOFLAGS="-mod=mod")
    return ok


def install_debian_packages() -> bool:
    """Tools of a restore by hand, and PostgreSQL of this machine's suite."""
    missing = [package for package in DEBIAN_PACKAGES if not _is_there(package)]
    if not missing:
        print("Debian packages: all there")
        return True
    command = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        print(f"missing: {', '.join(missing)}; to get them: sudo {' '.join(command)}")
        return False
    print(" ".join(command), flush=True)
    # A fresh machine has no lists of packages, or old ones.
    _run(["apt-get", "update", "-qq"])
    return _run(command, DEBIAN_FRONTEND="noninteractive")


def unpack_postgres() -> bool:
    """The major that neither the wheel nor this machine's suite has; no root is needed."""
    found = postgres.installations().get(debian.MAJOR)
    if found is not None:
        print(f"PostgreSQL {debian.MAJOR}: is there ({found})")
        return True
    print(f"PostgreSQL {debian.MAJOR}: unpacking Debian's of {debian.SUITE}", flush=True)
    try:
        debian.unpack(cache_dir())
    except debian.Impossible as reason:
        print(f"PostgreSQL {debian.MAJOR}: {reason}")
        return False
    return True


def _is_there(package: str) -> bool:
    """By what it installs, so that other distributions and own builds count too."""
    if package.startswith("postgresql"):
        return any(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return shutil.which(package) is not None


def _run(command: list[str], **environment: str) -> bool:
    return subprocess.run(command, env={**os.environ, **environment}, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
