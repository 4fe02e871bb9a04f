"""Objects from one store to another, byte by byte, each proven as every upload is."""

from __future__ import annotations

from collections.abc import Iterator

from runner.storage.base import ObjectInfo, Storage


def copy_object(source: Storage, key: str, target: Storage, new_key: str) -> ObjectInfo:
    """Copy one object; nothing is visible under the new key before all of it is there.

    Raises: StorageUnavailable, ObjectNotFound, AccessDenied, ChecksumMismatch.
    """
    stream = source.open_stream(key)
    upload = target.create_upload(new_key)
    try:
        size = target.properties.part_size_bytes
        for number, part in enumerate(_parts(stream, size), start=1):
            upload.put_part(number, part)
        return upload.complete()
    except BaseException:
        upload.abort()
        raise
    finally:
        stream.close()


def _parts(chunks: Iterator[bytes], size: int) -> Iterator[bytes]:
    """Cut into parts of one size, the last one as it comes; at least one, which may be empty."""
    buffer = bytearray()
    count = 0
    for chunk in chunks:
        buffer += chunk
        while len(buffer) > size:
            yield bytes(buffer[:size])
            del buffer[:size]
            count += 1
    if buffer or not count:
        yield bytes(buffer)
