"""A Hugging Face Hub for tests: in memory, on 127.0.0.1, spoken to over real HTTP by the real client.

    with LocalHub() as hub:
        subprocess.run([...], env=os.environ | hub.environment(cache))

It has what pushing and loading need: tokens, private repositories, other people's names, commits, trees,
file downloads, and uploads of large files through the LFS batch protocol. `requests` is the log of what
was asked, `unknown` what it could not answer: a test that finds something there has found a gap in this
file.
"""

import base64
import hashlib
import json
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

USER, TOKEN, READ_TOKEN = "tester", "hf_write", "hf_read"
LFS_SUFFIXES = (".safetensors", ".png", ".parquet", ".bin")


@dataclass(frozen=True)
class Commit:
    oid: str
    title: str
    files: dict[str, bytes]


@dataclass
class Repository:
    private: bool = False
    sdk: str | None = None
    commits: list[Commit] = field(default_factory=list)

    def at(self, revision: str) -> Commit | None:
        return next((it for it in reversed(self.commits) if revision in ("main", "HEAD", it.oid)), None)

    def add(self, title: str, files: dict[str, bytes]) -> Commit:
        oid = hashlib.sha1(f"{title}{time.time_ns()}".encode()).hexdigest()
        self.commits.append(Commit(oid, title, files))
        return self.commits[-1]


class HubError(Exception):
    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None):
        self.status, self.message = status, message
        self.headers = {"X-Error-Code": code, "X-Error-Message": message} | (headers or {})


class LocalHub:
    """Starts on entering, stops on leaving.

    Attributes:
        endpoint: `http://127.0.0.1:PORT`.
        token, read_token: may write as `USER`; may only read.
        repositories: `(kind, "owner/name")` -> `Repository`, kind being model, space or dataset.
    """

    token, read_token = TOKEN, READ_TOKEN

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.large_files: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.unknown: list[str] = []

    def __enter__(self) -> "LocalHub":
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{listening.getsockname()[1]}"
        self._server = uvicorn.Server(uvicorn.Config(create_app(self), log_level="warning"))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listening]}, daemon=True)
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise RuntimeError("the local Hub did not start")
            time.sleep(0.01)
        return self

    def __exit__(self, *_: Any) -> None:
        self._server.should_exit = True
        self._thread.join()

    def environment(self, home: Path) -> dict[str, str]:
        """For a process that is to use this Hub, with its caches in `home`."""
        return {
            "HF_ENDPOINT": self.endpoint,
            "HF_TOKEN": self.token,
            "HF_HOME": str(home),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }

    def files(self, repo_id: str, kind: str = "model") -> dict[str, bytes]:
        """What the last commit holds."""
        return self.repositories[kind, repo_id].commits[-1].files

    def find(self, kind: str, repo_id: str, request: Request) -> Repository:
        repository = self.repositories.get((kind, repo_id))
        if repository is None or (repository.private and not bearer(request)):
            raise HubError(404, "RepoNotFound", "Repository not found")
        return repository

    def commit_at(self, kind: str, repo_id: str, revision: str, request: Request) -> Commit:
        commit = self.find(kind, repo_id, request).at(revision)
        if commit is None:
            raise HubError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit


def bearer(request: Request) -> str | None:
    """The token, if it is one of ours."""
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    return token if token in (TOKEN, READ_TOKEN) else None


def require_writer(request: Request, owner: str) -> None:
    token = bearer(request)
    if token is None:
        raise HubError(401, "", "Invalid credentials in Authorization header")
    if token == READ_TOKEN or owner != USER:
        raise HubError(403, "", f"You don't have the rights to write in the namespace {owner}")


def etag(path: str, data: bytes) -> str:
    """As git and LFS name a content."""
    if path.endswith(LFS_SUFFIXES):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def describe(path: str, data: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": etag(path, data)}
    if path.endswith(LFS_SUFFIXES):
        entry["lfs"] = {"oid": etag(path, data), "size": len(data), "pointerSize": 130}
    return entry


def apply_commit(
    hub: LocalHub, before: dict[str, bytes], lines: list[dict[str, Any]]
) -> tuple[str, dict[str, bytes]]:
    """Title and files of the commit that the lines of the request describe."""
    files, title = dict(before), ""
    for line in lines:
        key, value = line["key"], line["value"]
        if key == "header":
            title = value["summary"]
        elif key == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif key == "lfsFile":
            files[value["path"]] = hub.large_files[value["oid"]]
        elif key == "deletedFile":
            del files[value["path"]]
        elif key == "deletedFolder":
            files = {
                path: data
                for path, data in files.items()
                if not path.startswith(value["path"].rstrip("/") + "/")
            }
    return title, files


def list_tree(files: dict[str, bytes], folder: str, recursive: bool) -> list[dict[str, Any]]:
    start = folder.rstrip("/") + "/" if folder else ""
    inside = {path: data for path, data in files.items() if path.startswith(start)}
    if folder and not inside:
        raise HubError(404, "EntryNotFound", f"{folder} does not exist")
    entries, folders = [], set()
    for path, data in sorted(inside.items()):
        parts = path[len(start) :].split("/")
        depth = len(parts) if recursive else min(2, len(parts))
        folders |= {start + "/".join(parts[:level]) for level in range(1, depth)}
        if recursive or len(parts) == 1:
            entries.append(describe(path, data))
    return [
        {"type": "directory", "path": path, "size": 0, "oid": "0" * 40} for path in sorted(folders)
    ] + entries


def create_app(hub: LocalHub) -> FastAPI:
    """The routes of the Hub's HTTP interface, over `hub`."""
    app = FastAPI()

    @app.exception_handler(HubError)
    async def refuse(_: Request, error: HubError) -> Response:
        return JSONResponse({"error": error.message}, error.status, headers=error.headers)

    @app.middleware("http")
    async def log(request: Request, answer: Any) -> Response:
        response = await answer(request)
        hub.requests.append(f"{request.method} {request.url.path} {response.status_code}")
        return response

    @app.get("/api/whoami-v2")
    async def whoami(request: Request):
        if bearer(request) is None:
            raise HubError(401, "", "Invalid credentials in Authorization header")
        return {"type": "user", "name": USER, "orgs": []}

    @app.get("/api/agent-harnesses")
    async def agent_harnesses():
        return {"standardEnvVars": [], "harnesses": {}}

    @app.post("/api/validate-yaml")
    async def validate_yaml(request: Request):
        content = (await request.json())["content"]
        return {"errors": [] if content.startswith("---\n") else [{"message": "no metadata"}], "warnings": []}

    @app.post("/api/repos/create")
    async def create(request: Request):
        body = await request.json()
        owner, kind = body.get("organization") or USER, body.get("type") or "model"
        require_writer(request, owner)
        repo_id = f"{owner}/{body['name']}"
        url = f"{hub.endpoint}/{'' if kind == 'model' else kind + 's/'}{repo_id}"
        if (kind, repo_id) in hub.repositories:
            return JSONResponse({"error": "You already created this repo", "url": url}, 409)
        private = bool(body.get("private")) or body.get("visibility") == "private"
        repository = hub.repositories[kind, repo_id] = Repository(private, body.get("sdk"))
        repository.add("initial commit", {".gitattributes": b""})
        return {"url": url, "name": repo_id, "id": repo_id}

    @app.post("/api/{kind}s/{owner}/{name}/preupload/{revision}")
    async def preupload(kind: str, owner: str, name: str, request: Request):
        require_writer(request, owner)
        hub.find(kind, f"{owner}/{name}", request)
        paths = [file["path"] for file in (await request.json())["files"]]
        modes = {path: "lfs" if path.endswith(LFS_SUFFIXES) else "regular" for path in paths}
        return {
            "files": [
                {"path": path, "uploadMode": mode, "shouldIgnore": False} for path, mode in modes.items()
            ]
        }

    @app.post("/{repo_id:path}.git/info/lfs/objects/batch")
    async def lfs_batch(request: Request):
        objects = []
        for item in (await request.json())["objects"]:
            upload = {"actions": {"upload": {"href": f"{hub.endpoint}/lfs/{item['oid']}"}}}
            objects.append(item if item["oid"] in hub.large_files else item | upload)
        return {"transfer": "basic", "objects": objects}

    @app.put("/lfs/{oid}")
    async def lfs_upload(oid: str, request: Request):
        data = await request.body()
        if hashlib.sha256(data).hexdigest() != oid:
            raise HubError(422, "", "the content does not match its SHA-256")
        hub.large_files[oid] = data
        return {}

    @app.post("/api/{kind}s/{owner}/{name}/commit/{revision}")
    async def commit(kind: str, owner: str, name: str, request: Request):
        require_writer(request, owner)
        repository = hub.find(kind, f"{owner}/{name}", request)
        lines = [json.loads(line) for line in (await request.body()).splitlines()]
        made = repository.add(*apply_commit(hub, repository.commits[-1].files, lines))
        return {
            "commitUrl": f"{hub.endpoint}/{owner}/{name}/commit/{made.oid}",
            "commitOid": made.oid,
            "success": True,
        }

    @app.get("/api/{kind}s/{owner}/{name}/tree/{revision}")
    @app.get("/api/{kind}s/{owner}/{name}/tree/{revision}/{folder:path}")
    async def tree(
        kind: str,
        owner: str,
        name: str,
        revision: str,
        request: Request,
        folder: str = "",
        recursive: bool = False,
    ):
        return list_tree(hub.commit_at(kind, f"{owner}/{name}", revision, request).files, folder, recursive)

    @app.post("/api/{kind}s/{owner}/{name}/paths-info/{revision}")
    async def paths_info(kind: str, owner: str, name: str, revision: str, request: Request):
        files = hub.commit_at(kind, f"{owner}/{name}", revision, request).files
        form = await request.form()
        return [describe(path, files[path]) for path in map(str, form.getlist("paths")) if path in files]

    @app.get("/api/{kind}s/{owner}/{name}")
    @app.get("/api/{kind}s/{owner}/{name}/revision/{revision}")
    async def info(kind: str, owner: str, name: str, request: Request, revision: str = "main"):
        repo_id = f"{owner}/{name}"
        found = hub.commit_at(kind, repo_id, revision, request)
        siblings = [{"rfilename": path} for path in sorted(found.files)]
        private = hub.repositories[kind, repo_id].private
        return {"id": repo_id, "sha": found.oid, "private": private, "tags": [], "siblings": siblings}

    @app.get("/api/{kind}s/{name}")
    async def without_owner(kind: str, name: str):
        raise HubError(404, "RepoNotFound", f"Repository not found: {name}")

    @app.api_route("/{kind}s/{owner}/{name}/resolve/{revision}/{path:path}", methods=["GET", "HEAD"])
    async def download(kind: str, owner: str, name: str, revision: str, path: str, request: Request):
        found = hub.commit_at(kind, f"{owner}/{name}", revision, request)
        headers = {"X-Repo-Commit": found.oid}
        if path not in found.files:
            raise HubError(404, "EntryNotFound", "Entry not found", headers)
        data = found.files[path]
        headers |= {"ETag": f'"{etag(path, data)}"', "Content-Length": str(len(data))}
        body = b"" if request.method == "HEAD" else data
        return Response(body, media_type="application/octet-stream", headers=headers)

    @app.api_route("/{owner}/{name}/resolve/{revision}/{path:path}", methods=["GET", "HEAD"])
    async def download_model(owner: str, name: str, revision: str, path: str, request: Request):
        return await download("model", owner, name, revision, path, request)

    @app.api_route("/{path:path}", methods=["GET", "HEAD", "POST", "PUT", "DELETE"])
    async def anything_else(path: str, request: Request):
        hub.unknown.append(f"{request.method} /{path}")
        raise HubError(404, "", "this local Hub does not know that path")

    return app
