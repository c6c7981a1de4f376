"""Every route of the web API, as the tests walk them: `from tests.web.catalogue import routes`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from lora_studio.web.app import PREFIX, api
from lora_studio.web.gate import _flat

PARAMETER = re.compile(r"{(\w+)(?::\w+)?}")


@dataclass(frozen=True)
class Route:
    """One method of one path, and what its function says of itself."""

    method: str
    path: str
    doc: str

    @property
    def parameters(self) -> list[str]:
        return PARAMETER.findall(self.path)

    def filled(self, **values: str) -> str:
        """The path with every parameter filled in (as given: quote what needs it)."""
        return PARAMETER.sub(lambda m: values.get(m[1], "x"), self.path)


def routes(context: Any) -> list[Route]:
    found = []
    for route in _flat(api(context).routes):
        path = PREFIX + route.path
        found += [Route(method, path, (route.endpoint.__doc__ or "").strip()) for method in sorted(route.methods) if method != "HEAD"]
    return sorted(found, key=lambda r: (r.path, r.method))


def every_route() -> list[Route]:
    """The routes of a page made for nothing else."""
    from pathlib import Path

    from lora_studio.host.standalone import Standalone
    from lora_studio.studio import Studio
    from lora_studio.web.context import Context

    host = Standalone(Path("projects"), Path("models"))
    return routes(Context(Studio(host.projects_dir, host.lora_dir), host))
