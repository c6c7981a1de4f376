"""Why a download failed, in words for a person: the texts of sockets, TLS and proxies, and the answers of servers."""

from __future__ import annotations

import re
import urllib.error
from dataclasses import dataclass


@dataclass(frozen=True)
class Reason:
    """``marks``: a regular expression, looked for in the lower-case text of an error. ``why`` ends a sentence of ours."""

    marks: str
    why: str


#: The first that fits counts. Windows tells in the system's language, always with the number.
REASONS = (
    Reason(
        r"proxy authentication required|\b407\b|tunnel connection failed|proxyerror|cannot connect to proxy",
        why="the proxy refuses the connection (see the proxy settings of the system, or HTTPS_PROXY)",
    ),
    Reason(
        r"getaddrinfo|name or service not known|nodename nor servname|name resolution|no address associated|(winerror|errno) 1100[1-4]",
        why="the server was not found: this computer has no network, or its name server does not answer",
    ),
    Reason(
        r"certificate_verify_failed|certificate verify failed",
        why="the server's certificate is not trusted here (a wrong date of this computer, or a proxy or virus scanner that reads secure connections)",
    ),
    Reason(
        r"\bssl\b|\[ssl|_ssl\.c|eof occurred in violation|tlsv1|wrong_version_number",
        why="the secure connection was cut off (by a proxy, a firewall or the network)",
    ),
    Reason(r"winerror 10061|connection refused|actively refused|积极拒绝", why="the server, or the proxy before it, takes no connections"),
    Reason(r"winerror 10060|timed out|timeout", why="the server does not answer: the network is slow, or a firewall blocks it"),
    Reason(r"winerror (10051|10065)|network is unreachable|no route to host", why="this computer has no network"),
    Reason(
        r"winerror 1005[34]|connection reset|connection aborted|remote end closed|broken pipe|incompleteread|connection broke off|强迫关闭",
        why="the connection broke off",
    ),
)
#: answers of a server
ANSWERS = {
    401: Reason("", why="the server wants a login for this file"),
    403: Reason("", why="the server refuses this file (it may want a login, or block this country)"),
    404: Reason("", why="the file is not there any more"),
    410: Reason("", why="the file is not there any more"),
    429: Reason("", why="the server has had too many downloads from here: wait a while"),
}
BUSY = Reason("", why="the server has trouble of its own: try again later")


def why(error: BaseException) -> str:
    """The reason in words; the error's own text where it is not known."""
    if isinstance(error, urllib.error.HTTPError):
        known = ANSWERS.get(error.code) or (BUSY if error.code >= 500 else None)
        return known.why if known is not None else f"the server answers {error.code} ({error.reason})"
    reason = getattr(error, "reason", None) or error
    text = f"{type(reason).__name__} {f'[WinError {number}]' if (number := getattr(reason, 'winerror', None)) else ''} {reason}".lower()
    found = next((row for row in REASONS if re.search(row.marks, text)), None)
    return found.why if found is not None else str(reason)
