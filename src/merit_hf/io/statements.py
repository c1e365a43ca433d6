"""Report of the statements that a device or a reader left in a file.

Joining statements, and leaving out lines that only sign them, live here; cleaning text for a model does not.
"""

import re
from collections.abc import Iterable

# Lines below a report that say who signed it: they name people and say nothing about the ECG.
_SIGNATURE = re.compile(
    r"^\W*(?:(?:un|re)?confirmed\b|electronically (?:signed|confirmed)|not confirmed"
    r"|(?:\w+ and )?(?:referred|reviewed|overread|over-read|edited|interpreted|signed|reported|read) by\b)",
    re.IGNORECASE,
)


def report_of(statements: Iterable[str | None]) -> str | None:
    """One report: the statements in order, each once, joined by ". "; None if nothing is said."""
    lines = [" ".join((statement or "").split()).strip(" .") for statement in statements]
    lines = [line for line in lines if any(map(str.isalnum, line)) and not _SIGNATURE.match(line)]
    return ". ".join(dict.fromkeys(lines)) or None
