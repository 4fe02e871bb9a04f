"""Locations as a test sees them: their entry in the class, and what is in them."""

from __future__ import annotations

import hashlib
import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlencode

from attrs import frozen

from tests.servers.gcs import GcsServer
from tests.servers.minio import MinioServer
from tests.servers.moto import MotoServer


class Place(Protocol):
    """One location. `spec` is its entry in `backupLocations`, without encryption."""

    name: str
    spec: Mapping[str, Any]

    def all_keys(self) -> list[str]: ...

    def read(self, key: str) -> bytes: ...

    def write(self, key: str, data: bytes) -> None: ...

    def delete(self, key: str) -> None: ...

    def uploads(self) -> list[str]:
        """Uploads that were begun and neither finished nor taken back."""
        ...


@frozen
class Folder:
    """A directory."""

    name: str
    path: Path

    @property
    def spec(self) -> dict[str, Any]:
        return {"name": self.name, "storageType": "filesystem", "path": str(self.path)}

    def all_keys(self) -> list[str]:
        return sorted(key for key in self._files() if "/.upload-" not in f"/{key}")

    def read(self, key: str) -> bytes:
        return (self.path / key).read_bytes()

    def write(self, key: str, data: bytes) -> None:
        (self.path / key).parent.mkdir(parents=True, exist_ok=True)
        (self.path / key).write_bytes(data)

    def delete(self, key: str) -> None:
        (self.path / key).unlink()

    def uploads(self) -> list[str]:
        return [key for key in self._files() if "/.upload-" in f"/{key}"]

    def _files(self) -> Iterator[str]:
        # Unlike rglob, walk does not mind a folder that goes away meanwhile.
        for folder, _, names in os.walk(self.path):
            for name in names:
                yield str((Path(folder) / name).relative_to(self.path))


@frozen
class Bucket:
    """A bucket of a server that speaks S3, seen through boto3 on its own address.

    Args:
        kind: `s3` or `minio`, the adapter that the runner uses.
        endpoint: what the runner is told; a proxy's perhaps.
    """

    name: str
    server: MotoServer | MinioServer
    bucket: str
    kind: str
    endpoint: str

    @property
    def spec(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "storageType": self.kind,
            "storageEndpoint": self.endpoint,
            "storageBucket": self.bucket,
            "storageLocation": "us-east-1",
            "storageAccessKeyID": {"value": self.server.access_key},
            "storageSecretAccessKey": {"value": self.server.secret_key},
        }

    def all_keys(self) -> list[str]:
        pages = self._client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return sorted(item["Key"] for page in pages for item in page.get("Contents", ()))

    def read(self, key: str) -> bytes:
        data: bytes = self._client().get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return data

    def write(self, key: str, data: bytes) -> None:
        self._client().put_object(Bucket=self.bucket, Key=key, Body=data)

    def delete(self, key: str) -> None:
        self._client().delete_object(Bucket=self.bucket, Key=key)

    def uploads(self) -> list[str]:
        answer = self._client().list_multipart_uploads(Bucket=self.bucket)
        return [item["Key"] for item in answer.get("Uploads", ())]

    def abort_uploads(self) -> None:
        client = self._client()
        for item in client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", ()):
            client.abort_multipart_upload(
                Bucket=self.bucket, Key=item["Key"], UploadId=item["UploadId"]
            )

    def _client(self) -> Any:
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=f"http://{self.server.endpoint}",
            region_name="us-east-1",
            aws_access_key_id=self.server.access_key,
            aws_secret_access_key=self.server.secret_key,
            config=Config(s3={"addressing_style": "path"}),
        )


@frozen
class GcsBucket:
    """A bucket of the fake Cloud Storage, seen through its JSON API."""

    name: str
    server: GcsServer
    bucket: str

    @property
    def spec(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "storageType": "gcs",
            "storageEndpoint": self.server.endpoint,
            "storageBucket": self.bucket,
        }

    def all_keys(self) -> list[str]:
        found: list[str] = []
        token = ""
        while True:
            query = urlencode({"pageToken": token} if token else {})
            page = json.loads(self._ask("GET", f"/storage/v1/b/{self.bucket}/o?{query}"))
            found += [item["name"] for item in page.get("items", ())]
            token = page.get("nextPageToken", "")
            if not token:
                return sorted(found)

    def read(self, key: str) -> bytes:
        return self._ask("GET", f"/storage/v1/b/{self.bucket}/o/{quote(key, safe='')}?alt=media")

    def write(self, key: str, data: bytes) -> None:
        query = urlencode({"uploadType": "media", "name": key})
        self._ask("POST", f"/upload/storage/v1/b/{self.bucket}/o?{query}", data)

    def delete(self, key: str) -> None:
        self._ask("DELETE", f"/storage/v1/b/{self.bucket}/o/{quote(key, safe='')}")

    def uploads(self) -> list[str]:
        return []  # the service cannot list them; they end by themselves

    def _ask(self, method: str, path: str, data: bytes | None = None) -> bytes:
        request = urllib.request.Request(
            f"http://{self.server.endpoint}{path}", data=data, method=method
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            body: bytes = answer.read()
            return body


def moto_bucket(server: MotoServer, name: str = "s3", *, endpoint: str = "") -> Bucket:
    """A new bucket of moto, for the adapter `s3`."""
    return Bucket(name, server, server.new_bucket(), "s3", endpoint or server.endpoint)


def minio_bucket(server: MinioServer, name: str = "minio", *, endpoint: str = "") -> Bucket:
    """A new bucket of MinIO, for the adapter `minio`."""
    return Bucket(name, server, server.new_bucket(), "minio", endpoint or server.endpoint)


def stock(place: Place, *, only: Callable[[str], bool] = lambda _key: True) -> dict[str, str]:
    """Key -> SHA-256 of everything that is there."""
    return {
        key: hashlib.sha256(place.read(key)).hexdigest() for key in place.all_keys() if only(key)
    }
