"""The published releases of PTB-XL: how many records each has, and which of them a table of records is.

The columns of the table are explained in `ptb_xl.py`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

PTB_XL_URL = "https://physionet.org/content/ptb-xl"


@dataclass(frozen=True)
class Release:
    """A release, with its number of records as its page on PhysioNet states it."""

    version: str
    num_records: int
    year: int
    doi: str

    @property
    def address(self) -> str:
        return f"{PTB_XL_URL}/{self.version}/"


RELEASES = (
    Release("1.0.1", 21_837, 2020, "10.13026/x4td-x982"),
    Release("1.0.2", 21_801, 2022, "10.13026/zx4k-te85"),
    Release("1.0.3", 21_799, 2022, "10.13026/kfzx-aw45"),
)
LATEST = RELEASES[-1]
# Records of 1.0.1, which counts from 1 to 21837 without a gap, that 1.0.3 does not have.
WITHDRAWN = frozenset(
    [
        *(137, 139, 140, 141, 142, 143, 145, 456, 458, 459, 461, 462, 2506, 2511, 3795, 3798, 3800, 3801, 3832, 5817),
        *(7777, 7779, 7782, 9821, 9825, 9888, 11810, 11814, 11815, 11817, 11838, 13791, 13793, 13796, 13797, 13799),
        *(15742, 18150),
    ]
)


def release_of(ecg_ids: Collection[int]) -> Release | None:
    """Release that a table with these records is, whole; None where it is none of them, such as a part of one."""
    whole = [release for release in RELEASES if release.num_records == len(ecg_ids)]
    if not whole or (release := whole[0]).num_records != len(set(ecg_ids)):
        return None
    missing = WITHDRAWN.difference(ecg_ids)
    # What each release lacks are withdrawn records and no others.
    expected = RELEASES[0].num_records - release.num_records
    return release if len(missing) == expected and max(ecg_ids) <= RELEASES[0].num_records else None


def release_note(ecg_ids: Collection[int]) -> str:
    """One sentence on the release of a table with these records."""
    release = release_of(ecg_ids)
    withdrawn = len(WITHDRAWN.intersection(ecg_ids))
    if release is None:
        counts = ", ".join(f"{release.version} has {release.num_records:,}" for release in RELEASES)
        found = (
            f"it is not 1.0.3, as it has {withdrawn} of the {len(WITHDRAWN)} records withdrawn before it"
            if withdrawn
            else "it may be a part of any of them"
        )
        return f"Release unknown: the table has {len(ecg_ids):,} records ({counts}); {found}."
    if withdrawn:
        return (
            f"Release {release.version}, whole: {release.num_records:,} records; {withdrawn} of them were withdrawn "
            "in later releases."
        )
    return f"Release {release.version}, whole: {release.num_records:,} records."
