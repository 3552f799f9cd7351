"""A hub in a thread: the few endpoints that the hub's client calls to fetch, to make a repository and to push."""

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

TOKEN = "hf_of_me"  # of the account "me"


class Repository:
    """Commits by their hash, each a dict of path -> bytes; branches and tags that name them."""

    def __init__(self, gated=False, private=False):
        self.gated, self.private = gated, private
        self.commits, self.revisions, self.messages = {}, {}, []
        self.commit({".gitattributes": b""}, "main", "initial commit")

    def commit(self, files, revision="main", message="", deleted=()):
        """A commit on top of a branch; returns its hash."""
        files = {path: data for path, data in self.files(revision).items() if path not in deleted} | files
        content = [(path, hashlib.sha1(data).hexdigest()) for path, data in sorted(files.items())]
        commit = hashlib.sha1(json.dumps([content, len(self.commits)]).encode()).hexdigest()
        self.commits[commit], self.revisions[revision] = files, commit
        self.messages.append(message)
        return commit

    def files(self, revision):
        return self.commits.get(self.revisions.get(revision, revision), {})


class Hub(ThreadingHTTPServer):
    """Serves `repositories` on 127.0.0.1, and keeps what was asked of it: method, path, range of bytes.

    `cut` has the paths of files whose next download breaks off after a third of their bytes.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories, self.requests, self.cut = {}, [], set()
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def put(self, repo, folder, **options):
        """A repository with the files of a folder; returns it."""
        repository = self.repositories[repo] = Repository(**options)
        repository.commit({path.relative_to(folder).as_posix(): path.read_bytes() for path in _files(folder)})
        return repository

    def stop(self):
        """No answers any more."""
        self.shutdown()
        self.server_close()

    def downloads(self):
        """Paths of the files whose content was asked for, each time it was."""
        parts = [
            path.split("/resolve/") for method, path, _ in self.requests if method == "GET" and "/resolve/" in path
        ]
        return [path.partition("/")[2] for _, path in parts]


def _files(folder):
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        """Nothing on standard error."""

    def do_HEAD(self):
        self._answer()

    do_GET = do_POST = do_HEAD

    def _answer(self):
        path = unquote(urlsplit(self.path).path).lstrip("/")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.account = "me" if self.headers.get("Authorization") == f"Bearer {TOKEN}" else None
        self.server.requests.append((self.command, path, self.headers.get("Range")))
        if path == "api/validate-yaml":
            return self._send({"errors": [], "warnings": []})
        if path == "api/repos/create":
            return self._create(json.loads(body))
        if path.startswith("api/models/"):
            owner, name, *rest = path.removeprefix("api/models/").split("/")
            return self._with(f"{owner}/{name}", self._api, rest, body)
        if "/resolve/" in path:
            repo, _, rest = path.partition("/resolve/")
            return self._with(repo, self._resolve, rest)
        return self._send({}, 404)

    def _with(self, repo, respond, *arguments):
        repository = self.server.repositories.get(repo)
        if repository is None or (repository.private and not self.account):
            return self._send({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        return respond(repo, repository, *arguments)

    def _create(self, wanted):
        repo = f"{wanted['organization']}/{wanted['name']}"
        if self.account != wanted["organization"]:
            return self._refuse()
        known = repo in self.server.repositories
        if not known:
            self.server.repositories[repo] = Repository(private=wanted.get("visibility") == "private")
        return self._send({"url": f"{self.server.url}/{repo}"}, 409 if known else 200)

    def _refuse(self):
        message = "You don't have the required permissions"
        return self._send({"error": message}, 403 if self.account else 401, {"X-Error-Message": message})

    def _api(self, repo, repository, rest, body):
        kind, revision = rest[0] if rest else "revision", "/".join(rest[1:]) or "main"
        if kind in ("preupload", "commit", "branch") and self.account != repo.split("/")[0]:
            return self._refuse()
        if kind == "branch":
            known = revision in repository.revisions
            repository.revisions.setdefault(revision, repository.revisions["main"])
            return self._send({}, 409 if known else 200)
        commit = repository.revisions.get(revision, revision)
        if commit not in repository.commits:
            return self._send({"error": "Invalid rev"}, 404, {"X-Error-Code": "RevisionNotFound"})
        if kind == "revision":
            siblings = [{"rfilename": path} for path in repository.files(commit)]
            return self._send({"id": repo, "sha": commit, "siblings": siblings, "private": repository.private})
        if kind == "tree":
            return self._send([_entry(path, data) for path, data in repository.files(commit).items()])
        if kind == "preupload":
            paths = [file["path"] for file in json.loads(body)["files"]]
            return self._send({"files": [{"path": p, "uploadMode": "regular", "shouldIgnore": False} for p in paths]})
        header, *operations = map(json.loads, body.splitlines())
        deleted = [each["value"]["path"] for each in operations if each["key"] == "deletedFile"]
        files = [each["value"] for each in operations if each["key"] == "file"]
        files = {each["path"]: base64.b64decode(each["content"]) for each in files}
        commit = repository.commit(files, revision, header["value"]["summary"], deleted)
        return self._send({"commitUrl": f"{self.server.url}/{repo}/commit/{commit}", "commitOid": commit})

    def _resolve(self, repo, repository, rest):
        revision, _, path = rest.partition("/")
        commit = repository.revisions.get(revision, revision)
        if repository.gated and not self.account:
            return self._send({"error": "gated"}, 401, {"X-Error-Code": "GatedRepo"})
        if path not in repository.files(commit):
            return self._send({}, 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        data = repository.files(commit)[path]
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        headers = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha1(data).hexdigest()}"'}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        content = data[start:]
        if self.command == "GET" and path in self.server.cut:
            self.server.cut.remove(path)
            return self._send(content[: len(content) // 3], 200, headers, length=len(content))
        return self._send(content, 206 if start else 200, headers)

    def _send(self, content, status=200, headers=None, length=None):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        self.send_header("Connection", "close")  # so that nothing is answered after `stop`
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _entry(path, data):
    return {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
