"""Where a build gets things from: base images, packages and wheels, each as the caller says."""

from __future__ import annotations

import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Self

from attrs import frozen

#: Field of Sources -> the variable of `make images` that says it.
VARIABLES = {
    "base_image": "BASE_IMAGE",
    "debian_mirror": "DEBIAN_MIRROR",
    "apt_repository": "APT_REPOSITORY",
    "apt_key": "APT_KEY",
    "mariadb_apt_repository": "MARIADB_APT_REPOSITORY",
    "mariadb_apt_key": "MARIADB_APT_KEY",
    "mysql_apt_repository": "MYSQL_APT_REPOSITORY",
    "mysql_apt_key": "MYSQL_APT_KEY",
    "pip_index": "PIP_INDEX_URL",
    "ca_file": "SSL_CERT_FILE",
}
#: Engine -> how its project calls the distribution and the component for a release of Debian.
_LAYOUTS = {
    "mariadb": ("{suite}", "main"),
    "mysql": ("{suite}", "mysql-{series}-lts"),
    "postgres": ("{suite}-pgdg", "main"),
}
_ANSWER_TIMEOUT_S = 15.0
#: Of a release file, whose first lines are enough.
_MOST_BYTES = 1 << 16


@frozen(kw_only=True)
class Answer:
    """What a repository says of itself.

    Args:
        problem: why nothing can be had of it from here; empty: it has answered.
        architectures: what it has packages for, as Debian calls it; empty: it does not say.
    """

    problem: str = ""
    architectures: frozenset[str] = frozenset()


@frozen(kw_only=True)
class Repository:
    """A database project's own apt repository, or a mirror of it.

    Args:
        url: of what its folder `dists` is in.
        distribution: below `dists`.
        component: of the distribution.
        key: URL of the key that signs it.
        variable: what names another one.
    """

    url: str
    distribution: str
    component: str
    key: str
    variable: str

    @property
    def line(self) -> str:
        """As apt's sources have it, without the options."""
        return f"{self.url} {self.distribution} {self.component}"

    @property
    def release_file(self) -> str:
        """URL of what apt asks for first."""
        return f"{self.url}/dists/{self.distribution}/InRelease"

    def ask(self, *, ca_file: str = "") -> Answer:
        """Read what it says of itself.

        Args:
            ca_file: certificates to trust; empty: this machine's.
        """
        asked = self.release_file
        trust = ssl.create_default_context(cafile=ca_file or None)
        try:
            # Of whatever kind the address is that a person named.
            with urllib.request.urlopen(asked, timeout=_ANSWER_TIMEOUT_S, context=trust) as answer:  # noqa: S310
                text = answer.read(_MOST_BYTES).decode(errors="replace")
        except urllib.error.HTTPError as error:
            return Answer(problem=f"{asked}: {error.code} {error.reason}")
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            return Answer(problem=f"{asked}: {getattr(reason, 'strerror', None) or reason}")
        said = re.search(r"^Architectures:(.*)$", text, re.MULTILINE)
        return Answer(architectures=frozenset(said[1].split() if said else ()))


@frozen(kw_only=True)
class Sources:
    """What names it all; empty: whatever the base and pip use by themselves.

    Args:
        base_image: with `{suite}` for the release of Debian.
        apt_repository: of PostgreSQL's own project, and below it the key that signs it; then those
            of the others. Each may have `{series}` for the database's version.
        ca_file: certificates to trust while building.
    """

    base_image: str = "debian:{suite}-slim"
    debian_mirror: str = ""
    apt_repository: str = "https://apt.postgresql.org/pub/repos/apt"
    apt_key: str = "https://www.postgresql.org/media/keys/ACCC4CF8.asc"
    mariadb_apt_repository: str = "https://dlm.mariadb.com/repo/mariadb-server/{series}/repo/debian"
    mariadb_apt_key: str = "https://mariadb.org/mariadb_release_signing_key.pgp"
    mysql_apt_repository: str = "https://repo.mysql.com/apt/debian"
    mysql_apt_key: str = "https://repo.mysql.com/RPM-GPG-KEY-mysql-2025"
    pip_index: str = ""
    ca_file: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """What the variables say; one that is empty is as good as none."""
        given = {field: environment.get(name) for field, name in VARIABLES.items()}
        return cls(**{field: text for field, text in given.items() if text})

    def repository(self, engine: str, *, suite: str, series: str) -> Repository:
        """That of an engine's project, for a release of Debian and a version of the database."""
        prefix = "" if engine == "postgres" else f"{engine}_"
        distribution, component = (
            text.format(suite=suite, series=series) for text in _LAYOUTS[engine]
        )
        url: str = getattr(self, f"{prefix}apt_repository")
        return Repository(
            url=url.rstrip("/").format(series=series),
            distribution=distribution,
            component=component,
            key=getattr(self, f"{prefix}apt_key"),
            variable=VARIABLES[f"{prefix}apt_repository"],
        )
