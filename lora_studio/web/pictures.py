"""Routes of pictures: lists, thumbnails and the pictures themselves, of raw/ and dataset/."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import FileResponse

from ..errors import UserError
from .app import JSON, router
from .context import Context
from .gate import in_thread

ONE = "/projects/{project}/pictures"
TYPES = {
    ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".jfif": "image/jpeg", ".webp": "image/webp", ".avif": "image/avif",
    ".bmp": "image/bmp", ".gif": "image/gif",
}  # fmt: skip
SAFE = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox"}
LARGEST_PAGE = 1000
# A frame and a stroke through it, in a grey that stands on light and dark.
PLACEHOLDER = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64" width="256" height="256"><rect width="64" height="64" fill="#8884"/>'
    b'<path d="M18 20h28v24H18zM18 44 46 20" fill="none" stroke="#888" stroke-width="2"/></svg>'
)


def routes(context: Context) -> APIRouter:
    own = router()
    studio = context.studio

    @own.get(ONE)
    async def pictures(project: str, where: str = "raw", offset: int = 0, limit: int = 200) -> Response:
        """{total, pictures: [{name, width, height, v, bytes}], unreadable: [[name, reason]]}: one page in order of name."""

        def page() -> dict[str, object]:
            found = studio.pictures(context.project(project), where)
            first = max(0, offset)
            some = found.pictures[first : first + max(1, min(limit, LARGEST_PAGE))]
            return {
                "total": len(found.pictures),
                "pictures": [{"name": p.name, "width": p.width, "height": p.height, "v": p.stamp, "bytes": p.bytes} for p in some],
                "unreadable": found.unreadable,
            }

        return JSON(await in_thread(page))

    @own.get(ONE + "/{where}/{name}")
    async def picture(request: Request, project: str, where: str, name: str, size: int = 0, v: str = "") -> Response:
        """A thumbnail of about ``size`` pixels, or the whole picture. With ``v`` (its version) the browser need not ask again."""

        def answer() -> Response:
            opened = context.project(project)
            path = studio.picture(opened, where, name)
            if path is None:
                raise HTTPException(404, "There is no such picture.")
            headers = _kept(path, size, bool(v))
            if headers["ETag"] in request.headers.get("if-none-match", ""):
                return Response(status_code=304, headers=headers)
            if not size:
                return FileResponse(path, media_type=TYPES[path.suffix.lower()], headers={**headers, **SAFE})
            try:
                return Response(studio.thumbnail(opened, path, size), media_type="image/jpeg", headers={**headers, **SAFE})
            except UserError:
                # Not kept: what this process cannot read (AVIF with an old Pillow) the import may yet have made a thumbnail of.
                return Response(PLACEHOLDER, media_type="image/svg+xml", headers={"Cache-Control": "no-store", **SAFE})

        return await in_thread(answer)

    return own


def _kept(path: Path, size: int, versioned: bool) -> dict[str, str]:
    try:
        stat = path.stat()
    except OSError:
        raise HTTPException(404, "There is no such picture.") from None
    keep = "private, max-age=31536000, immutable" if versioned else "private, no-cache"
    return {"ETag": f'"{stat.st_mtime_ns:x}-{stat.st_size:x}-{size}"', "Cache-Control": keep}
