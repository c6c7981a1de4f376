"""Routes of settings from and for kohya's trainer."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response

from ..errors import UserError
from ..files import atomic_write_bytes
from ..patience import temporary_folder
from .app import JSON, router
from .body import read_body
from .context import Context
from .gate import in_thread

ONE = "/projects/{project}"
KINDS = (".toml", ".json", ".txt")
MOST = 10


def routes(context: Context) -> APIRouter:
    own = router()

    @own.post(ONE + "/training/import")
    async def take(project: str, request: Request) -> Response:
        """{files: [{name, text}]}: kohya's config and dataset TOML or its GUI's JSON become a preset, which is chosen; what was not taken is told."""
        files = _files(await read_body(request))

        def work() -> Any:
            if not context.host.paths_allowed():  # such files name folders of this machine
                raise UserError("Settings cannot be imported here: they name folders of this machine.", "Use the command: config import")
            with temporary_folder() as folder:
                for name, text in files.items():
                    atomic_write_bytes(folder / name, text.encode("utf-8"))
                paths = sorted((folder / name for name in files), key=lambda path: path.suffix == ".txt")
                return context.studio.import_settings(context.project(project), paths)

        return JSON(await in_thread(work))

    @own.get(ONE + "/runs/{run}/kohya.zip")
    async def give(project: str, run: str) -> Response:
        """A run's settings as files for kohya's trainer, with what they cannot say."""

        def work() -> bytes:
            found = context.run(context.project(project), run)
            with temporary_folder() as folder:
                lost = context.studio.export_settings(context.studio.settings_of(found), folder)
                data = io.BytesIO()
                with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
                    for path in sorted(folder.iterdir()):
                        # The files name one another by where they were written.
                        archive.writestr(path.name, path.read_text(encoding="utf-8").replace(folder.absolute().as_posix() + "/", ""))
                    if lost:
                        archive.writestr("not_exported.txt", "".join(f"{option}: {reason}\n" for option, reason in lost))
            return data.getvalue()

        headers = {"Content-Disposition": 'attachment; filename="kohya.zip"', "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        return Response(await in_thread(work), media_type="application/zip", headers=headers)

    return own


def _files(body: dict[str, Any]) -> dict[str, str]:
    """name -> text of the files of a request; names are names of files, nothing more."""
    found = body.get("files")
    if not isinstance(found, list) or not 0 < len(found) <= MOST:
        raise UserError("The request cannot be used: files should be a list of one to ten files.")
    files: dict[str, str] = {}
    for file in found:
        name, text = (file.get("name"), file.get("text")) if isinstance(file, dict) else (None, None)
        if not isinstance(name, str) or not isinstance(text, str):
            raise UserError("The request cannot be used: a file should have a name and a text.")
        if Path(name).suffix.lower() not in KINDS:
            raise UserError(f"{name} is not a settings file.", "Choose config.toml, dataset.toml, or the .json of kohya's GUI.")
        # What it was called does not matter but for its kind, and for the others that name it.
        plain = "".join(c if c.isalnum() or c in "-_. " else "_" for c in name.replace("\\", "/").rsplit("/", 1)[-1]).lstrip(".") or "file.toml"
        files[plain[-100:]] = text
    return files
