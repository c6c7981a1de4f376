"""Errors of extensions are printed and the host goes on; tests look at `reported`."""

import sys
import traceback

reported = []


def report(message, *, exc_info=False):
    reported.append(message)
    print("***", message, file=sys.stderr)
    if exc_info:
        reported.append(traceback.format_exc())
        print(reported[-1], file=sys.stderr)
