"""A registry of images on this machine: one image, made from a folder, served as OCI's distribution protocol has it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

_TYPE = "application/vnd.oci.image"


@contextlib.contextmanager
def serving(root: Path, work: Path, env: dict[str, str], *, broken: bool = False) -> Iterator[str]:
    """Serve the image in folder `root`; its address without ``docker://``. A `broken` one stops half-way."""
    layer = work / "layer.tar"
    with tarfile.open(layer, "w") as archive:
        archive.add(root, ".", filter=_owned)
    with layer.open("rb") as file:
        digest = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
    blobs: dict[str, bytes | Path] = {digest: layer}

    def blob(kind: str, content: dict[str, Any]) -> dict[str, Any]:
        text = json.dumps(content).encode()
        name = "sha256:" + hashlib.sha256(text).hexdigest()
        blobs[name] = text
        return {"mediaType": f"{_TYPE}.{kind}.v1+json", "digest": name, "size": len(text)}

    settings = {"Env": [f"{name}={value}" for name, value in env.items()], "Labels": {"org.example.made": "here"}}
    rootfs = {"type": "layers", "diff_ids": [digest]}
    config = blob("config", {"architecture": "amd64", "os": "linux", "config": settings, "rootfs": rootfs})
    layers = [{"mediaType": f"{_TYPE}.layer.v1.tar", "digest": digest, "size": layer.stat().st_size}]
    manifest = blob(
        "manifest", {"schemaVersion": 2, "mediaType": f"{_TYPE}.manifest.v1+json", "config": config, "layers": layers}
    )
    handler = type(
        "Handler", (_Handler,), {"blobs": blobs, "tags": {"1": manifest["digest"]}, "cut": digest if broken else ""}
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}/hep/small:1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        layer.unlink()


def _owned(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    blobs: ClassVar[dict[str, bytes | Path]]
    tags: ClassVar[dict[str, str]]
    cut: ClassVar[str]

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        name = self.path.partition("?")[0].rpartition("/")[2]
        if self.path == "/v2/":
            self._send(b"{}", "application/json", body=body)
        elif "/hep/small/manifests/" in self.path and (found := self.tags.get(name, name)) in self.blobs:
            self._send(self.blobs[found], f"{_TYPE}.manifest.v1+json", body=body, digest=found)
        elif "/hep/small/blobs/" in self.path and name in self.blobs:
            self._send(self.blobs[name], "application/octet-stream", body=body, digest=name)
        else:
            said = b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}'
            self._send(said, "application/json", body=body, status=404)

    def _send(self, content: bytes | Path, kind: str, *, body: bool, digest: str = "", status: int = 200) -> None:
        size = content.stat().st_size if isinstance(content, Path) else len(content)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(size))
        if digest:
            self.send_header("Docker-Content-Digest", digest)
        self.end_headers()
        if not body:
            return
        if isinstance(content, bytes):
            self.wfile.write(content)
            return
        with content.open("rb") as file, contextlib.suppress(OSError):
            left = size // 2 if digest == self.cut else size
            while left > 0 and (block := file.read(min(left, 1 << 20))):
                self.wfile.write(block)
                left -= len(block)
        self.close_connection = self.close_connection or digest == self.cut

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
