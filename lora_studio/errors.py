"""The one error a person is meant to see."""

from __future__ import annotations


class UserError(Exception):
    """Something a person can act on: what happened and where, and what to do next."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class OutdatedError(UserError):
    """A change made upon something that somebody else has changed since."""
