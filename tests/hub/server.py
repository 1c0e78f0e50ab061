"""The Hub's protocol over a folder: what huggingface_hub, transformers and datasets ask of it, and no more.

Answers, status codes and error headers are the real ones. One event loop serves everything: nothing is locked.
"""

import base64
import hashlib
import json
import re
from urllib.parse import unquote

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse, Response

from .store import File, HubError, Store, card_data, check_metadata, is_lfs


def make_app(store: Store, url: str, cdn_url: str) -> FastAPI:
    """The application; `cdn_url` leads to it as well, as another host from which large files come."""
    app = FastAPI(openapi_url=None)

    @app.exception_handler(HubError)
    async def answer(request: Request, error: HubError) -> JSONResponse:
        return JSONResponse({"error": error.message}, error.status, error.headers)

    add_account_routes(app, store, url)
    add_repo_routes(app, store)
    add_commit_routes(app, store, url)
    add_file_routes(app, store, cdn_url)  # the last, since these routes match nearly everything
    return app


# ── Who am I, and which repositories are there ──


def add_account_routes(app: FastAPI, store: Store, url: str) -> None:
    def owned(request: Request, body: dict) -> tuple[str, str]:
        user = store.user(request)
        if user is None:
            raise HubError(401, None, "Invalid username or password.")
        owner = body.get("organization") or user["name"]
        if owner not in (user["name"], *user["orgs"]) or user["role"] != "write":
            raise HubError(403, None, f"You don't have the rights to create a model under the namespace {owner!r}")
        return body.get("type") or "model", f"{owner}/{body['name']}"

    @app.get("/api/whoami-v2")
    async def whoami(request: Request):
        user = store.user(request)
        if user is None:
            raise HubError(401, None, "Invalid username or password.")
        orgs = [{"type": "org", "name": name, "roleInOrg": "write"} for name in user["orgs"]]
        access = {"type": "access_token", "accessToken": {"displayName": "test", "role": user["role"]}}
        return {"type": "user", "name": user["name"], "fullname": user["name"], "orgs": orgs, "auth": access}

    @app.post("/api/validate-yaml")
    async def validate_yaml(request: Request):
        body = await request.json()
        errors, warnings = check_metadata(body["content"], body.get("repoType") or "model")
        answer = {"errors": [{"message": m} for m in errors], "warnings": [{"message": m} for m in warnings]}
        return JSONResponse(answer, 400 if errors else 200)

    @app.post("/api/repos/create")
    async def create(request: Request):
        body = await request.json()
        repo_type, repo_id = owned(request, body)
        path = repo_id if repo_type == "model" else f"{repo_type}s/{repo_id}"
        if (repo_type, repo_id) in store.repos:
            message = f"You already created this {repo_type} repo: {repo_id}"
            return JSONResponse({"error": message, "url": f"{url}/{path}"}, 409)
        private = body.get("visibility") == "private" or bool(body.get("private"))
        store.create(repo_id, repo_type, private=private, sdk=body.get("sdk"))
        return {"url": f"{url}/{path}", "name": repo_id}

    @app.delete("/api/repos/delete")
    async def delete(request: Request):
        if store.repos.pop(owned(request, await request.json()), None) is None:
            raise HubError(404, "RepoNotFound", "Repository not found")


# ── What is in a repository ──


def add_repo_routes(app: FastAPI, store: Store) -> None:
    api = "/api/{kind}/{owner}/{name}"

    @app.get(api)
    @app.get(f"{api}/revision/{{revision}}")
    async def info(request: Request, revision: str = "main"):
        repo = store.find(request)
        commit = repo.at(unquote(revision))
        siblings = [{"rfilename": path} for path in sorted(commit.files)]
        if request.query_params.get("blobs"):
            siblings = [
                {"rfilename": path, **details(file, "blobId", "sha256")} for path, file in commit.files.items()
            ]
        readme = commit.files.get("README.md")
        card = card_data((store.blobs / readme.key).read_text()) if readme is not None else None
        dates = {"lastModified": commit.date, "createdAt": next(iter(repo.commits.values())).date}
        gated = "manual" if repo.gated else False
        known = {"id": repo.id, "sha": commit.id, "private": repo.private, "gated": gated, "sdk": repo.sdk}
        constant = {"tags": [], "disabled": False, "downloads": 0, "likes": 0}
        return {**known, **dates, **constant, "siblings": siblings, "cardData": card}

    @app.get(f"{api}/auth-check")
    async def auth_check(request: Request):
        store.find(request, content=True)

    @app.get(f"{api}/tree/{{revision}}")
    @app.get(f"{api}/tree/{{revision}}/{{path:path}}")
    async def tree(request: Request, revision: str, path: str = ""):
        files = store.find(request).at(unquote(revision)).files
        folder = f"{unquote(path).rstrip('/')}/" if path else ""
        below = {name: file for name, file in files.items() if name.startswith(folder)}
        if folder and not below:
            raise HubError(404, "EntryNotFound", f"{path} does not exist on {revision!r}")
        recursive = request.query_params.get("recursive", "").lower() in ("true", "1")
        entries = [entry(name, file) for name, file in below.items() if recursive or "/" not in name[len(folder) :]]
        folders = {
            name[: end.start()] for name in below for end in re.finditer("/", name) if end.start() >= len(folder)
        }
        entries += [folder_entry(name) for name in folders if recursive or "/" not in name[len(folder) :]]
        return sorted(entries, key=lambda item: item["path"])

    @app.post(f"{api}/paths-info/{{revision}}")
    async def paths_info(request: Request, revision: str):
        files = store.find(request).at(unquote(revision)).files
        wanted = await body_of(request)
        paths = wanted["paths"] if isinstance(wanted["paths"], list) else [wanted["paths"]]
        found = [entry(path, files[path]) for path in paths if path in files]
        return found + [folder_entry(p) for p in paths if any(name.startswith(f"{p}/") for name in files)]

    @app.get(f"{api}/refs")
    async def refs(request: Request):
        repo = store.find(request)
        branches = [{"name": n, "ref": f"refs/heads/{n}", "targetCommit": c} for n, c in repo.branches.items()]
        tags = [{"name": n, "ref": f"refs/tags/{n}", "targetCommit": c} for n, c in repo.tags.items()]
        return {"branches": branches, "tags": tags, "converts": [], "pullRequests": []}

    @app.get(f"{api}/commits/{{revision}}")
    async def commits(request: Request, revision: str):
        repo = store.find(request)
        commit, listed = repo.at(unquote(revision)), []
        while commit is not None:
            listed.append({"id": commit.id, "title": commit.title, "message": "", "authors": [], "date": commit.date})
            commit = repo.commits.get(commit.parent)
        return listed


async def body_of(request: Request) -> dict:
    """JSON, or the form that older clients send."""
    if "json" in request.headers.get("content-type", ""):
        return await request.json()
    from urllib.parse import parse_qs

    return parse_qs((await request.body()).decode())


def details(file: File, oid_key: str, sha_key: str) -> dict:
    lfs = {"lfs": {sha_key: file.key, "size": file.size, "pointerSize": 134}} if file.is_lfs else {}
    return {oid_key: file.oid, "size": file.size, **lfs}


def entry(path: str, file: File) -> dict:
    return {"type": "file", "path": path, **details(file, "oid", "oid")}


def folder_entry(path: str) -> dict:
    return {"type": "directory", "path": path, "oid": hashlib.sha1(path.encode()).hexdigest(), "size": 0}


# ── Changing it ──


def add_commit_routes(app: FastAPI, store: Store, url: str) -> None:
    api = "/api/{kind}/{owner}/{name}"

    @app.put(f"{api}/settings")
    async def settings(request: Request):
        repo, wanted = store.find(request, write=True), await request.json()
        repo.private = wanted.get("private", wanted.get("visibility") == "private" or repo.private)
        repo.gated = bool(wanted.get("gated", repo.gated))
        return {}

    @app.post(f"{api}/branch/{{branch}}")
    async def branch(request: Request, branch: str):
        repo, wanted = store.find(request, write=True), await request.json()
        if unquote(branch) in repo.branches:
            raise HubError(409, None, f"Reference already exists: {unquote(branch)}")
        repo.branches[unquote(branch)] = repo.at(wanted.get("startingPoint", "main")).id
        return {}

    @app.post(f"{api}/tag/{{revision}}")
    async def tag(request: Request, revision: str):
        repo, wanted = store.find(request, write=True), await request.json()
        repo.tags[wanted["tag"]] = repo.at(unquote(revision)).id
        return {}

    @app.post(f"{api}/preupload/{{revision}}")
    async def preupload(request: Request, revision: str):
        files, answers = store.find(request, write=True).at(unquote(revision)).files, []
        for file in (await request.json())["files"]:
            mode = "lfs" if is_lfs(file["path"], file["size"], base64.b64decode(file["sample"])) else "regular"
            old = files.get(file["path"])
            oid = {"oid": old.etag} if old is not None else {}
            answers.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, **oid})
        return {"files": answers}

    @app.post(f"{api}/commit/{{revision}}")
    async def commit(request: Request, revision: str):
        repo, revision = store.find(request, write=True), unquote(revision)
        parent = repo.at(revision)
        if revision not in repo.branches:
            raise HubError(400, None, f"{revision} is no branch")
        title, files = "", dict(parent.files)
        for line in (await request.body()).splitlines():
            item = json.loads(line)
            key, value = item["key"], item["value"]
            if key == "header":
                title = value["summary"]
                if value.get("parentCommit", parent.id) != parent.id:
                    raise HubError(412, None, "A commit has happened since. Please refresh and try again.")
            elif key == "file":
                files[value["path"]] = store.add_blob(value["path"], base64.b64decode(value["content"]))
            elif key == "lfsFile":
                if not (store.blobs / value["oid"]).exists():
                    raise HubError(400, None, f"LFS pointer pointed to a file that does not exist: {value['path']}")
                files[value["path"]] = store.lfs_file(value["oid"])
            elif key == "deletedFile" and value["path"] not in files:
                raise HubError(404, "EntryNotFound", f"A file with this name doesn't exist: {value['path']}")
            elif key == "deletedFile":
                del files[value["path"]]
            elif key == "deletedFolder":
                files = {p: file for p, file in files.items() if not p.startswith(value["path"].rstrip("/") + "/")}
            else:
                raise HubError(400, None, f"unknown operation {key}")
        made = store.commit(repo, revision, title, files)
        prefix = "" if repo.type == "model" else f"{repo.type}s/"
        return {"success": True, "commitOid": made.id, "commitUrl": f"{url}/{prefix}{repo.id}/commit/{made.id}"}

    async def batch(request: Request):
        repo, answers = store.find(request, write=True), []
        for wanted in (await request.json())["objects"]:
            upload = {"href": f"{url}/lfs-upload/{repo.id}/{wanted['oid']}?size={wanted['size']}"}
            missing = not (store.blobs / wanted["oid"]).exists()
            answers.append({**wanted, **({"actions": {"upload": upload}} if missing else {})})
        return {"transfer": "basic", "objects": answers}

    add_for_all_kinds(app, "POST", ".git/info/lfs/objects/batch", batch)

    @app.put("/lfs-upload/{owner}/{name}/{key}")
    async def upload(request: Request, key: str, size: int):
        content = await request.body()
        if len(content) != size or hashlib.sha256(content).hexdigest() != key:
            raise HubError(400, None, f"got {len(content)} bytes that do not fit the announced ones")
        (store.blobs / key).write_bytes(content)


# ── Reading files ──


def add_file_routes(app: FastAPI, store: Store, cdn_url: str) -> None:
    async def resolve(request: Request):
        repo = store.find(request, content=True)
        revision, path = unquote(request.path_params["revision"]), unquote(request.path_params["path"])
        commit = repo.at(revision)
        file = commit.files.get(path)
        if file is None:
            raise HubError(404, "EntryNotFound", "Entry not found", **{"X-Repo-Commit": commit.id})
        headers = {"X-Repo-Commit": commit.id, "ETag": f'"{file.etag}"', "Accept-Ranges": "bytes"}
        if not file.is_lfs:
            return FileResponse(store.blobs / file.key, headers=headers)
        headers |= {"X-Linked-ETag": f'"{file.key}"', "X-Linked-Size": str(file.size)}
        return RedirectResponse(f"{cdn_url}/cdn/{file.key}", 302, headers)

    async def cdn(request: Request):
        if "authorization" in request.headers:  # it would refuse a signed address with a token beside it
            return Response(status_code=400)
        key = request.path_params["key"]
        return FileResponse(store.blobs / key, headers={"ETag": f'"{key}"'})

    app.add_api_route("/cdn/{key}", cdn, methods=["GET", "HEAD"])
    for method in ("GET", "HEAD"):
        add_for_all_kinds(app, method, "/resolve/{revision}/{path:path}", resolve)


def add_for_all_kinds(app: FastAPI, method: str, ending: str, handler) -> None:
    """Models are at the root of the web site, datasets and Spaces under their kind."""

    async def of_a_model(request: Request):
        request.path_params["kind"] = "models"
        return await handler(request)

    app.add_api_route("/{kind}/{owner}/{name}" + ending, handler, methods=[method])
    app.add_api_route("/{owner}/{name}" + ending, of_a_model, methods=[method])
