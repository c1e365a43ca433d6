"""A web server on this machine, with files in memory, ranges, and any fault one asks for."""

import hashlib
import re
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

RANGE = re.compile(r"bytes=(\d+)-")


class FileServer:
    """Serves `files` (path -> bytes) below `url`; use it as a context.

    Attributes:
        faults: path -> faults of the next answers, the last one for all that follow if it is "for ever". A fault is
            "drop" (half of what was asked for, then the connection is cut), "wrong byte", "no range" (the whole file
            with 200), or a tuple of a status and headers.
        requests: path -> headers of each request.
        num_connections: connections that were opened; `most_at_once` of them at a time.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.tags = True  # whether answers have an ETag
        self.faults: dict[str, list[object]] = {}
        self.num_connections = self.open_connections = self.most_at_once = 0
        self.lock = threading.Lock()
        self.requests: dict[str, list[dict[str, str]]] = defaultdict(list)
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                server.count_connection(1)

            def finish(self) -> None:
                server.count_connection(-1)
                super().finish()

            def log_message(self, *arguments: object) -> None:
                pass

            def do_GET(self) -> None:
                server.answer(self)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.handle_error = lambda request, address: None  # clients that go away are part of the tests
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"

    def __enter__(self) -> "FileServer":
        # A short interval between looks at whether to end.
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def checksums(self) -> bytes:
        """Text of SHA256SUMS.txt for the files, as PhysioNet has it."""
        return "".join(f"{hashlib.sha256(data).hexdigest()} {path}\n" for path, data in self.files.items()).encode()

    def num_requests(self) -> int:
        return sum(len(requests) for requests in self.requests.values())

    def count_connection(self, change: int) -> None:
        with self.lock:
            self.num_connections += change > 0
            self.open_connections += change
            self.most_at_once = max(self.most_at_once, self.open_connections)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.lstrip("/")
        self.requests[path].append(dict(handler.headers))
        faults = self.faults.get(path, [])
        fault = faults[0] if len(faults) > 1 and faults[1] == "for ever" else faults.pop(0) if faults else None
        if isinstance(fault, tuple) or path not in self.files:
            status, headers = fault if isinstance(fault, tuple) else (404, {})
            self._send(handler, status, headers, b"no")
            return
        data = self.files[path]
        tag = f'"{hashlib.md5(data).hexdigest()}"'
        headers = {"ETag": tag} if self.tags else {}
        asked = RANGE.fullmatch(handler.headers.get("Range", ""))
        if asked and fault != "no range" and handler.headers.get("If-Range", tag) == tag:
            start = int(asked[1])
            if start >= len(data):
                self._send(handler, 416, {"Content-Range": f"bytes */{len(data)}"}, b"")
                return
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            self._send(handler, 206, headers, data[start:], fault)
            return
        self._send(handler, 200, headers, data, fault)

    def _send(
        self, handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes, fault: object = None
    ) -> None:
        if fault == "wrong byte":
            body = bytes([body[0] ^ 1]) + body[1:]
        handler.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        if fault == "drop":
            handler.wfile.write(body[: len(body) // 2])
            handler.wfile.flush()
            handler.close_connection = True
            return
        handler.wfile.write(body)
