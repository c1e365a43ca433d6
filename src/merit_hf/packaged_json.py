"""JSON files that ship with the package: prompts, label maps, robustness curves, diagnosis codes and the like."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class PackagedJson:
    """A folder of JSON files inside the package. A user's own file is given by its path instead.

    Attributes:
        package: the package that the folder lies in, e.g. "merit_hf.evaluation.zero_shot".
        folder: name of the folder, e.g. "prompts".
        title: what one file holds, for messages.
    """

    package: str
    folder: str
    title: str

    def names(self) -> list[str]:
        """Names of the packaged files, without ".json"."""
        files = resources.files(self.package).joinpath(self.folder).iterdir()
        return sorted(file.name.removesuffix(".json") for file in files if file.name.endswith(".json"))

    def read(self, source: str | os.PathLike[str]) -> Any:
        """The content of one file.

        Args:
            source: path of a file, or the name of a packaged one.

        Raises:
            ValueError: there is no such file, it is not valid JSON, or a key occurs twice in one object.
        """
        path = Path(source)
        if path.is_file():
            text = path.read_text(encoding="utf-8")
        elif str(source) in self.names():
            text = resources.files(self.package).joinpath(self.folder, f"{source}.json").read_text(encoding="utf-8")
        else:
            raise ValueError(
                f"{self.title} {str(source)!r} is neither a file nor one of the packaged names {self.names()}"
            )
        try:
            return json.loads(text, object_pairs_hook=_without_duplicates)
        except ValueError as error:
            raise ValueError(f"{self.title} {str(source)!r} is not valid JSON: {error}") from error


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # json silently keeps the last of two equal keys, so an entry would be lost.
    names = [name for name, _ in pairs]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"the keys {repeated} occur twice")
    return dict(pairs)
