"""One resumable upload to Cloud Storage, part by part.

Source: "Resumable uploads" of the Cloud Storage documentation: chunks are PUT
with Content-Range; 308 and its Range header say how much is stored, and an
empty PUT asks for it. Only the last request names the total size.
"""

from __future__ import annotations

import base64
import contextlib
import re
from typing import TYPE_CHECKING, Any

from controller.api.errors import ChecksumMismatch, ObjectNotFound
from runner.storage.base import ObjectInfo
from runner.storage.failure import Call, refused, unavailable

if TYPE_CHECKING:
    from runner.storage.gcs import GcsStorage

_RANGE = re.compile(r"bytes=0-(\d+)")


class ResumableUpload:
    """Sends whole parts at once and keeps the short last one for `complete`.

    Cloud Storage makes an object visible with its last byte, and takes only
    multiples of 256 KiB before that.
    """

    def __init__(self, storage: GcsStorage, key: str, url: str) -> None:
        import google_crc32c  # noqa: PLC0415 - comes with the SDK

        self._extend = google_crc32c.extend
        self._storage = storage
        self._key = key
        # As good as a password for this object: never in a message.
        self._url = url
        self._crcs: list[int] = []  # of each part that is stored
        self._crc = 0  # of all of them
        self._offset = 0  # their size
        self._tail: bytes | None = None
        # A request without an answer: the server has to be asked what it has.
        self._is_unclear = False
        self._done: ObjectInfo | None = None

    def put_part(self, number: int, data: bytes, /) -> None:
        call = self._storage.call("put_part", self._key)
        crc = self._extend(0, data)
        if number <= len(self._crcs):
            if crc != self._crcs[number - 1]:
                raise refused(call, f"part {number} is stored already, with other content")
            return
        if number != len(self._crcs) + 1:
            raise refused(call, f"part {number} does not follow part {len(self._crcs)}")
        if len(data) < self._storage.properties.part_size_bytes:
            self._tail = data
            return
        self._tail = None
        self._store(call, data)
        self._crcs.append(crc)
        self._crc = self._extend(self._crc, data)
        self._offset += len(data)

    def complete(self) -> ObjectInfo:
        if self._done:
            return self._done
        # The server may have finished it in a call whose answer was lost; the
        # comparison below tells that from an upload that somebody cancelled.
        with contextlib.suppress(ObjectNotFound):
            self._finish(self._storage.call("complete", self._key), self._tail or b"")
        blob = self._storage.fetch_blob("complete", self._key)
        self._verify(blob)
        self._done = ObjectInfo(
            key=self._key,
            size_bytes=int(blob.size),
            etag=str(blob.generation),
            modified_at=blob.updated,
        )
        return self._done

    def abort(self) -> None:
        if not self._done:
            with contextlib.suppress(ObjectNotFound):
                self._storage.cancel_upload(self._key, self._url)

    def _store(self, call: Call, data: bytes) -> None:
        """Send one whole part, from where the server says it stands."""
        end = self._offset + len(data)
        position = self._offset
        if self._is_unclear:
            position = self._ask(call, None)
        self._is_unclear = True
        while position < end:
            body = memoryview(data)[position - self._offset :] if position > self._offset else data
            stored = self._send(call, body, position, None)
            if stored is None:
                raise refused(call, "the server ended the upload before the last part")
            if stored <= position:
                raise unavailable(call, "the server stored nothing of this part")
            position = stored
        self._is_unclear = False

    def _finish(self, call: Call, tail: bytes) -> None:
        """Send what is left together with the total size."""
        total = self._offset + len(tail)
        position = self._offset
        if self._is_unclear:
            asked = self._send(call, b"", 0, total)
            if asked is None:
                return
            position = self._checked(call, asked)
        self._is_unclear = True
        while True:
            stored = self._send(call, tail[position - self._offset :], position, total)
            if stored is None:
                return
            if stored <= position:
                raise unavailable(call, "the server does not finish the upload")
            position = stored

    def _ask(self, call: Call, total: int | None) -> int:
        stored = self._send(call, b"", 0, total)
        if stored is None:
            raise refused(call, "the server ended the upload before the last part")
        return self._checked(call, stored)

    def _checked(self, call: Call, stored: int) -> int:
        if stored < self._offset:
            raise refused(call, "the server lost data that it had confirmed")
        return stored

    def _send(
        self, call: Call, body: bytes | memoryview, start: int, total: int | None
    ) -> int | None:
        """One request; how many bytes are stored now, or None if the object is finished."""
        span = f"{start}-{start + len(body) - 1}" if body else "*"
        headers = {"Content-Range": f"bytes {span}/{'*' if total is None else total}"}
        if total is not None:
            headers["X-Goog-Hash"] = f"crc32c={_encoded(self._total_crc())}"
        status, stored = self._storage.send_part(call, self._url, body, headers)
        if status != 308:
            return None
        match = _RANGE.fullmatch(stored)
        # No range at all means that nothing is stored yet.
        return int(match[1]) + 1 if match else 0

    def _total_crc(self) -> int:
        crc: int = self._extend(self._crc, self._tail or b"")
        return crc

    def _verify(self, blob: Any) -> None:
        """Compare the finished object with what was sent."""
        size_bytes = self._offset + len(self._tail or b"")
        if blob.size == size_bytes and blob.crc32c == _encoded(self._total_crc()):
            return
        self._storage.delete([self._key])
        call = self._storage.call("complete", self._key)
        raise ChecksumMismatch(f"{call}: the stored object is not what was sent")


def _encoded(crc: int) -> str:
    return base64.b64encode(crc.to_bytes(4, "big")).decode()
