"""A loopback server of one corpus, with ranges and folder lists as the web has them, and as the Hub answers."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "someone/corpus"


class _Handler(BaseHTTPRequestHandler):
    """Serves `folder` below `/`, and as the Hub's data set `REPOSITORY`; drops connections as `faults` says."""

    protocol_version = "HTTP/1.1"

    def __init__(self, folder: Path, faults: list[str], *arguments) -> None:
        self.folder, self.faults = folder, faults
        super().__init__(*arguments)

    def log_message(self, *_) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        if found := re.fullmatch(rf"/datasets/{REPOSITORY}/resolve/{COMMIT}/(.*)", path):
            return self._file(self.folder / found[1])
        if path.startswith("/api/"):
            return self._hub(path)
        if (self.folder / path[1:]).is_dir():
            links = "".join(f'<a href="{entry.name}">x</a>' for entry in (self.folder / path[1:]).iterdir())
            return self._answer(200, links.encode(), {"Content-Type": "text/html"})
        return self._file(self.folder / path[1:])

    def do_POST(self) -> None:  # paths-info
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(200, b"[]")

    def _hub(self, path: str) -> None:
        facts = {"id": REPOSITORY, "sha": COMMIT, "siblings": [], "tags": [], "private": False}
        if re.fullmatch(rf"/api/datasets/{REPOSITORY}(/revision/[^/]+)?", path):
            return self._answer(200, json.dumps(facts).encode())
        if found := re.fullmatch(rf"/api/datasets/{REPOSITORY}/tree/{COMMIT}/?(.*)", path):
            entries = [
                {
                    "path": str(entry.relative_to(self.folder)),
                    "type": "file" if entry.is_file() else "directory",
                    "size": entry.stat().st_size,
                    "oid": "0",
                }
                for entry in sorted((self.folder / found[1]).iterdir())
            ]
            return self._answer(200, json.dumps(entries).encode())
        return self._answer(404, b"{}")

    def _file(self, path: Path) -> None:
        if not path.is_file():
            return self._answer(404, b"")
        content, status = path.read_bytes(), 200
        headers = {"Accept-Ranges": "bytes", "ETag": '"0"', "X-Repo-Commit": COMMIT}
        if wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            start, stop = int(wanted[1]), min(int(wanted[2] or len(content)) + 1, len(content))
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
            content, status = content[start:stop], 206
        if self.command == "GET" and self.faults:
            self.faults.pop()
            self.close_connection = True
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            return None
        return self._answer(status, content, headers)

    def _answer(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@contextmanager
def corpus_server(folder: Path, faults: list[str]) -> Iterator[str]:
    """The URL of a server of `folder`, which breaks off one answer about a file for each entry of `faults`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, folder, faults))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
