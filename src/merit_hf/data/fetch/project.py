"""A published project of PhysioNet: its name, its version and its address. Downloads are in `physionet.py`."""

from __future__ import annotations

from dataclasses import dataclass

PHYSIONET_URL = "https://physionet.org"


@dataclass(frozen=True)
class PhysioNetProject:
    """A published project.

    Attributes:
        name: as in its address.
        version: of the project.
        archive: name of the zip archive that is fetched in place of single files; empty: single files are.
        size: of the archive, in words.
    """

    name: str
    version: str
    archive: str = ""
    size: str = ""

    @property
    def url(self) -> str:
        """Address of the folder with all files, or of the archive."""
        if self.archive:
            return f"{PHYSIONET_URL}/static/published-projects/{self.name}/{self.archive}"
        return f"{PHYSIONET_URL}/files/{self.name}/{self.version}/"
