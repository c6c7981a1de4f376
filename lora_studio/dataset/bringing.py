"""Sources as people give them: files, folders, ZIPs, and folders in which ZIPs lie beside the pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import UserError
from ..progress import Progress, silent
from ..project import Project
from .importing import ImportReport, _walk, import_images
from .items import is_picture_name


def bring(sources: Iterable[str | Path], project: Project, progress: Progress = silent) -> ImportReport:
    """Import pictures, and unpack the ZIPs that lie in the folders too. A ZIP or a folder that gives nothing is left out with its reason.

    Raises UserError when nothing at all could be taken in.
    """
    given = [Path(source) for source in sources]
    archives = [path for folder in given if folder.is_dir() for path in archives_in(folder)]
    if not archives:
        return import_images(given, project, progress)
    loose = [source for source in given if not source.is_dir() or any(pictures_in(source))]
    found: list[ImportReport] = []
    left: list[tuple[Path, str]] = []
    first: UserError | None = None
    for some in [*([loose] if loose else []), *([archive] for archive in archives)]:
        try:
            found.append(import_images(some, project, progress))
        except UserError as error:
            first = first or error
            left += [(source, " ".join(filter(None, (error.message, error.hint)))) for source in some]
    if not found and first is not None:
        raise first
    return ImportReport(
        tuple(path for report in found for path in report.added),
        tuple(pair for report in found for pair in report.renamed),
        (*(pair for report in found for pair in report.skipped), *left),
        sum(report.captions for report in found),
    )


def archives_in(folder: Path) -> Iterator[Path]:
    """The ZIPs below a folder."""
    return (path for path in _walk(folder) if path.suffix.lower() == ".zip" and not path.name.startswith("."))


def pictures_in(folder: Path) -> Iterator[Path]:
    """The pictures below a folder, by their names."""
    return (path for path in _walk(folder) if is_picture_name(path.name))
