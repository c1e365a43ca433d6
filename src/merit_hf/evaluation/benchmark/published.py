"""Numbers that others published, to stand beside one's own: data, each with its protocol.

They were measured on other records and with other protocols, so nothing here is ever compared by a test.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any


def published_numbers(corpus: str | None = None, task: str | None = None) -> list[dict[str, Any]]:
    """Published macro AUROC, as far as known of one corpus and task.

    Args:
        corpus: "ptb_xl", "cpsc2018" or "csn"; None takes all.
        task: label column; None takes all.

    Returns:
        Entries `{"model", "corpus", "task", "protocol", ["fraction"], "macro_auroc", "source"}`, where `source`
        says in words how and where the number was published.
    """
    text = resources.files(__package__).joinpath("published", "macro_auroc.json").read_text(encoding="utf-8")
    content = json.loads(text)
    return [
        {**entry, "source": content["sources"][entry["source"]]}
        for entry in content["numbers"]
        if corpus in (None, entry["corpus"]) and task in (None, entry["task"])
    ]
