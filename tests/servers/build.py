"""What `make test-servers` runs: gets the servers that the tests use.

Programs go into the user's cache folder. Debian packages are installed only
where that is possible without asking (root, apt), and are named otherwise.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.servers import apt, debian, mysql_packages, postgres, prometheus, prometheus_operator
from tests.servers.cache import cache_dir
from tests.servers.node import programs as node_programs
from tests.servers.provider import ServerMissing, cache_bin_dir

# Exact versions: a test that fails tomorrow shall not fail because of upstream.
GO_PROGRAMS = {
    "minio": "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c",
    "fake-gcs-server": "github.com/fsouza/fake-gcs-server@v1.56.1",
    "helm": "helm.sh/helm/v3/cmd/helm@v3.22.0",
    "registry": "github.com/distribution/distribution/v3/cmd/registry@v3.1.2",
    "actionlint": "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12",
    "kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0",
    "kind": "sigs.k8s.io/kind@v0.33.0",
}
#: kube-apiserver and kubectl cannot be installed by `go install`: their module replaces others by
#: folders that only its own repository has.
KUBERNETES_VERSION = "1.34.4"
KUBERNETES_PROGRAMS = {
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kubectl": "k8s.io/kubernetes/cmd/kubectl",
    "kubernetes-node": "./node",
}
#: In the version that this Kubernetes requires.
ETCD = {"etcd": "go.etcd.io/etcd/server/v3"}
#: The same for all: what two programs share is compiled once, Go's own library above all.
_GO_OPTIONS = ("-mod=mod", "-trimpath")
#: Without what only a debugger reads, which takes a third of a program and of the time to link it.
_LEAN = "-s -w"
#: What of a node is written here: folder of the module -> its only file.
_NODE_SOURCES = Path(__file__).parent / "node"
COREDNS = "github.com/coredns/coredns@v1.12.4"
#: Its sources have the definitions of its kinds, and are not built.
PROMETHEUS_OPERATOR = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
DEBIAN_PACKAGES = ("age", "zstd", "postgresql", "postgresql-contrib")
#: What images are built with, where no container engine answers.
BUILD_PACKAGES = {"dockerd": "docker.io", "mmdebstrap": "mmdebstrap"}


def main(arguments: Sequence[str]) -> int:
    """Get all that `make test` uses; told "mysql", MySQL and MariaDB of every series."""
    if arguments == ["mysql"]:
        return 0 if unpack_mysql_family(mysql_packages.KNOWN) else 1
    # Compilers and downloads wait for different things.
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(_all_of, (_BUILT, _PACKAGED)))
    return 0 if all(both) else 1


def build_go_programs() -> bool:
    """Build what is missing; the first time takes some minutes."""
    target = cache_bin_dir()
    missing = _missing(GO_PROGRAMS)
    if not missing:
        return True
    if not _has_go(missing):
        return False
    ok = True
    for name, module in missing.items():
        print(f"{name}: go install {module}", flush=True)
        command = ["go", "install", *_GO_OPTIONS, "-ldflags", _LEAN, module]
        ok &= _run(command, GOBIN=str(target))
    return ok


def build_kubernetes() -> bool:
    """Build an API server, its etcd and kubectl: 2 GB of memory, some minutes the first time."""
    pin = f"k8s.io/kubernetes@v{KUBERNETES_VERSION}"
    missing = _missing(KUBERNETES_PROGRAMS, pin) | _missing(ETCD)
    if not missing:
        return True
    if not _has_go(missing):
        return False
    module = cache_bin_dir().parent / "kubernetes"
    (module / "node").mkdir(parents=True, exist_ok=True)
    shutil.copy(_NODE_SOURCES / "kubernetes.go", module / "node" / "main.go")
    try:
        (module / "go.mod").write_text(_kubernetes_module())
    except subprocess.CalledProcessError as error:
        print(f"k8s.io/kubernetes: {error.stderr}")
        return False
    major, minor, _ = KUBERNETES_VERSION.split(".")
    stamp = "k8s.io/component-base/version."
    flags = (
        f"{_LEAN} -X {stamp}gitVersion=v{KUBERNETES_VERSION}"
        f" -X {stamp}gitMajor={major} -X {stamp}gitMinor={minor}"
    )
    ok = True
    for name, package in missing.items():
        print(f"{name}: go build {package} (Kubernetes {KUBERNETES_VERSION})", flush=True)
        ok &= _build(module, name, package, flags=flags)
    return ok


def build_coredns() -> bool:
    """Build the node's DNS with five of its plugins: a minute and a half."""
    missing = _missing({"coredns": COREDNS})
    if not missing:
        return True
    if not _has_go(missing):
        return False
    print(f"coredns: go build ({COREDNS})", flush=True)
    name, _, version = COREDNS.partition("@")
    try:
        go = _go_line(_go_mod(COREDNS))
    except subprocess.CalledProcessError as error:
        print(f"{name}: {error.stderr}")
        return False
    module = _own_module("coredns", f"{go}\nrequire {name} {version}\n")
    return _build(module, "coredns", ".")


def build_pause() -> bool:
    """Build what holds a pod's namespaces: one static program, the whole of its image."""
    missing = _missing({"pause": "pause"})
    if not missing:
        return True
    if not _has_go(missing):
        return False
    print("pause: go build", flush=True)
    return _build(_own_module("pause", ""), "pause", ".", CGO_ENABLED="0")


def _own_module(name: str, requirements: str) -> Path:
    """The folder of a module with one file of this repository."""
    module = cache_bin_dir().parent / name
    module.mkdir(exist_ok=True)
    shutil.copy(_NODE_SOURCES / f"{name}.go", module / "main.go")
    (module / "go.mod").write_text(f"module db-backup-controller/{name}\n{requirements}")
    return module


def _build(module: Path, name: str, package: str, *, flags: str = _LEAN, **environ: str) -> bool:
    """Build a program of a module into the cache."""
    command = ["go", "build", "-C", str(module), *_GO_OPTIONS, "-ldflags", flags]
    if not _run([*command, "-o", name, package], **environ):
        return False
    # A build that is interrupted leaves nothing that looks like a program.
    (module / name).replace(cache_bin_dir() / name)
    return True


def _go_mod(module: str) -> str:
    """The go.mod of a module of others, by name and version.

    Raises: subprocess.CalledProcessError.
    """
    return Path(_downloaded(module)["GoMod"]).read_text()


def _downloaded(module: str) -> dict[str, str]:
    """Where a module of others is, by name and version.

    Raises: subprocess.CalledProcessError.
    """
    download = subprocess.run(
        ["go", "mod", "download", "-json", module], check=True, capture_output=True, text=True
    )
    found: dict[str, str] = json.loads(download.stdout)
    return found


def _go_line(module: str) -> str:
    go = re.search(r"^go .+$", module, re.MULTILINE)
    return go[0] if go else ""


def _kubernetes_module() -> str:
    """A module that requires Kubernetes, with the published versions of its parts."""
    upstream = _go_mod(f"k8s.io/kubernetes@v{KUBERNETES_VERSION}")
    parts = re.findall(r"^\s*(k8s\.io/\S+) => \./staging/", upstream, re.MULTILINE)
    version = "v0" + KUBERNETES_VERSION.removeprefix("1")
    replaced = "\n".join(f"replace {part} => {part} {version}" for part in parts)
    return (
        f"module db-backup-controller/test-servers\n{_go_line(upstream)}\n"
        f"require k8s.io/kubernetes v{KUBERNETES_VERSION}\n{replaced}\n"
    )


def _missing(programs: Mapping[str, str], pin: str = "") -> dict[str, str]:
    """What is not in the cache yet, which is made, or of another version than its pin says.

    Args:
        programs: name -> package; with its version, if that is its pin.
        pin: of all of them, `module@version`.
    """
    target = cache_bin_dir()
    target.mkdir(parents=True, exist_ok=True)
    missing = {}
    for name, package in programs.items():
        if (target / name).is_file() and _is_pinned(target / name, pin or package):
            print(f"{name}: is there ({target / name})")
        else:
            missing[name] = package
    return missing


def _is_pinned(program: Path, pin: str) -> bool:
    """Whether a module that Go wrote into a program is the one of a pin, without `@`: any."""
    package, at, version = pin.partition("@")
    if not at or shutil.which("go") is None:  # without it none can be built
        return True
    asked = subprocess.run(
        ["go", "version", "-m", program], check=False, capture_output=True, text=True
    )
    lines = [line.split() for line in asked.stdout.splitlines()]
    of_package = [line for line in lines if len(line) > 2 and package.startswith(line[1])]
    return any(kind in {"mod", "dep"} and found == version for kind, _, found, *_ in of_package)


def _has_go(missing: Mapping[str, str]) -> bool:
    if shutil.which("go"):
        return True
    print(f"{', '.join(missing)}: needs Go to build (https://go.dev/dl, or apt install golang)")
    return False


def install_debian_packages() -> bool:
    """Tools of a restore by hand, and PostgreSQL of this machine's suite."""
    missing = [package for package in DEBIAN_PACKAGES if not _is_there(package)]
    if not missing:
        print("Debian packages: all there")
        return True
    return _install(missing)


def install_node_packages() -> bool:
    """What the node and the images need; whoever is not root cannot use it, and is told so."""
    engine = [name for program, name in BUILD_PACKAGES.items() if shutil.which(program) is None]
    missing = node_programs.missing_packages() + engine
    if not missing:
        print("packages of the node: all there")
        return True
    if not node_programs.can_run():
        print(f"for `make test-e2e` and `make cluster-up`, both as root: {', '.join(missing)}")
        return True
    return _install(missing)


def _install(packages: list[str]) -> bool:
    command = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        print(f"missing: {', '.join(packages)}; to get them: sudo {' '.join(command)}")
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
    except apt.Impossible as reason:
        print(
            f"PostgreSQL {debian.MAJOR}: {reason}; else install it with its client tools, or name"
            " their folder in POSTGRES_BIN_DIRS"
        )
        return False
    return True


def unpack_mysql_family(sources: Iterable[mysql_packages.Source]) -> bool:
    """MariaDB and MySQL, server and clients; no root is needed."""
    ok = True
    for source in sources:
        if found := mysql_packages.bin_folder(cache_dir(), source):
            print(f"{source.name}: is there ({found})")
            continue
        print(f"{source.name}: unpacking {source.origin}", flush=True)
        try:
            mysql_packages.unpack(cache_dir(), source)
        except apt.Impossible as reason:
            print(
                f"{source.name}: {reason}; else install it with its client tools, or name their"
                f" folder in {source.family.upper()}_BIN_DIRS"
            )
            ok = False
    return ok


def unpack_prometheus() -> bool:
    """Debian's own; installed it would be started on this machine."""
    try:
        for program in prometheus.VARIABLES:
            print(f"{program}: is there ({prometheus.find(program)})")
        return True
    except ServerMissing:
        print(f"prometheus, promtool: unpacking Debian's of {prometheus.SUITE}", flush=True)
    try:
        prometheus.unpack(cache_bin_dir())
    except apt.Impossible as reason:
        names = " and ".join(prometheus.VARIABLES.values())
        print(f"prometheus: {reason}; else name the programs in {names}")
        return False
    return True


def unpack_prometheus_operator() -> bool:
    """The definitions of its kinds; 4 MB."""
    try:
        prometheus_operator.crds()
    except ServerMissing:
        print(f"definitions of the Prometheus operator: {PROMETHEUS_OPERATOR}", flush=True)
    else:
        print("definitions of the Prometheus operator: are there")
        return True
    if not _has_go({"definitions of the Prometheus operator": PROMETHEUS_OPERATOR}):
        return False
    try:
        prometheus_operator.unpack(Path(_downloaded(PROMETHEUS_OPERATOR)["Dir"]))
    except subprocess.CalledProcessError as error:
        print(f"{PROMETHEUS_OPERATOR}: {error.stdout}{error.stderr}")
        return False
    return True


def _is_there(package: str) -> bool:
    """By what it installs, so that other distributions and own builds count too."""
    if package.startswith("postgresql"):
        return any(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return shutil.which(package) is not None


def _run(command: list[str], **environment: str) -> bool:
    return subprocess.run(command, env={**os.environ, **environment}, check=False).returncode == 0


def _all_of(steps: Sequence[Callable[[], bool]]) -> bool:
    done = [step() for step in steps]  # one that fails keeps none of the others from being there
    return all(done)


_BUILT = (build_go_programs, build_kubernetes, build_coredns, build_pause)
_PACKAGED = (
    install_debian_packages,
    install_node_packages,
    unpack_postgres,
    lambda: unpack_mysql_family(filter(mysql_packages.is_usual, mysql_packages.KNOWN)),
    unpack_prometheus,
    unpack_prometheus_operator,
)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
