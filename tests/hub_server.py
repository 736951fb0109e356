"""A Hugging Face hub on this machine, for one repository: what tests of downloading fetch from."""

import contextlib
import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextlib.contextmanager
def serve(
    kind: str, name: str, files: Callable[[], Mapping[str, bytes]], commits: Mapping[str, str]
) -> Iterator[tuple[str, list[str]]]:
    """Serve a repository in the hub's own protocol; gives its address and the list of paths asked for.

    Args:
        kind: "models" or "datasets".
        name: of the repository, "owner/name".
        files: gives what is in it now.
        commits: by branch or tag, "main" among them.
    """
    asked: list[str] = []
    api, resolve = f"/api/{kind}/{name}", f"/{'' if kind == 'models' else f'{kind}/'}{name}/resolve/"

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            path, here = self.path.split("?")[0], files()
            revision, _, file = path.removeprefix(resolve).partition("/")
            if path.startswith(f"{api}/tree/"):
                self.answer(json.dumps([
                    {"type": "file", "path": each, "size": len(body), "oid": hashlib.sha1(body).hexdigest()}
                    for each, body in here.items()
                ]).encode())  # fmt: skip
            elif path == api or path.startswith(f"{api}/"):
                which = path.rpartition("/")[2] if path != api else "main"
                told = {
                    "id": name,
                    "sha": commits.get(which, which),
                    "siblings": [{"rfilename": each} for each in here],
                }
                self.answer(json.dumps(told).encode())
            elif path.startswith(resolve) and file in here:
                self.answer(here[file], revision)
            else:
                self.send_response(404)
                self.send_header("X-Error-Code", "RepoNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()

        do_HEAD = do_GET

        def answer(self, body: bytes, revision: str = "main") -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
            self.send_header("X-Repo-Commit", commits.get(revision, revision))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
