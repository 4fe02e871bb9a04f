"""Which key opens the backups of one location.

A backup's streams are encrypted for a fresh identity; `key.age` beside them
holds it, for this location's passphrase or recipients. Old passphrases are for
reading only.
"""

from __future__ import annotations

from collections.abc import Callable

from controller.api.errors import FormatError, InvalidSpec, NoKey, Problem
from controller.api.secrets import Secret, SecretValue
from controller.api.v1 import BackupLocation
from runner.crypto import age
from runner.crypto.derivation import derive
from runner.repository.manifest import Encryption, EncryptionKind, WrapKind

#: key.age of a hostile bucket; a real one has a few hundred bytes.
MAX_KEY_FILE_BYTES = 64 * 1024


class Keyring:
    """Wraps and unwraps backup keys for one location.

    Secrets are resolved when they are needed and not kept.
    """

    def __init__(self, location: BackupLocation, resolve: Callable[[SecretValue], Secret]) -> None:
        self._location = location
        self._resolve = resolve

    @property
    def encrypts(self) -> bool:
        return bool(self._location.encryption_pass or self._location.encryption_recipients)

    def encryption(self) -> Encryption:
        """What the manifest says of a backup that is made now."""
        if self._location.encryption_pass:
            return Encryption(kind=EncryptionKind.AGE, wrap=WrapKind.PASSPHRASE)
        if self._location.encryption_recipients:
            return Encryption(
                kind=EncryptionKind.AGE,
                wrap=WrapKind.RECIPIENTS,
                recipients=self._location.encryption_recipients,
            )
        return Encryption(kind=EncryptionKind.NONE)

    def wrap(self, identity: age.Identity) -> bytes:
        """Make `key.age`: a key file of the standard `age`, for this location.

        Raises: InvalidSpec for an empty passphrase - it never means "not encrypted".
        """
        text = f"{identity.secret_text().reveal()}\n".encode()
        if self._location.encryption_pass:
            return age.encrypt_with_passphrase(text, self._passphrase())
        return age.encrypt_to_recipients(text, self._location.encryption_recipients)

    def unwrap(self, key_file: bytes, encryption: Encryption) -> age.Identity:
        """Open `key.age`.

        Raises: NoKey when nothing configured here opens it, and says what would.
        """
        if encryption.wrap is WrapKind.RECIPIENTS:
            raise NoKey(
                "this backup is for recipients only: the runner has no identity to read it. "
                "`runner show` prints how its holder restores it by hand"
            )
        text = age.decrypt_with_passphrases(key_file, self._known_passphrases())
        try:
            return age.Identity.parse(Secret(text.decode()))
        except UnicodeDecodeError:
            raise FormatError("key.age does not hold an age identity") from None

    def passphrases_for(self, use: str) -> list[Secret]:
        """What the database itself encrypts with: the one of today first, then older ones.

        Derived, so that nothing is stored and what it is used for gives no other away. None, where
        nothing is encrypted.
        """
        values = [*filter(None, [self._location.encryption_pass])]
        values += self._location.previous_encryption_passes
        return [derive(secret, use) for secret in map(self._resolve, values) if secret]

    def check(self) -> None:
        """Refuse a configuration that could not encrypt; raises InvalidSpec, DependencyMissing."""
        if self._location.encryption_pass:
            self._passphrase()

    def _passphrase(self) -> Secret:
        assert self._location.encryption_pass is not None  # noqa: S101 - callers looked
        passphrase = self._resolve(self._location.encryption_pass)
        if not passphrase:
            raise InvalidSpec(
                [
                    Problem(
                        f"location {self._location.name}: encryptionPass",
                        "is empty: give it a value, or leave the field out for no encryption",
                    )
                ]
            )
        return passphrase

    def _known_passphrases(self) -> list[Secret]:
        values = [*filter(None, [self._location.encryption_pass])]
        values += self._location.previous_encryption_passes
        if not values:
            raise NoKey(
                f"the backup is encrypted and location {self._location.name} has no encryptionPass"
            )
        return [secret for secret in map(self._resolve, values) if secret]
