"""What README and docs point at exists: files, and names of functions and configuration fields."""

import re
from pathlib import Path

import pytest

from merit_hf import MeritConfig, MeritEcgConfig

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "docs" / "results" / "README.md"]
SOURCE = "\n".join(
    path.read_text(encoding="utf-8")
    for folder in ("src", "examples", "dataset_scripts")
    for path in (ROOT / folder).rglob("*.py")
) + (ROOT / "Makefile").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    assert links
    for link in links:
        if not link.startswith(("https://", "#")):
            assert (page.parent / link.split("#")[0]).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_named_functions_and_fields_exist(page):
    fields = set(MeritConfig().to_dict()) | set(MeritEcgConfig().to_dict())
    # `name`, `name(...)`, `Class.name`, `._name`, `name="value"`: words that can only be ours, having an underscore.
    quoted = re.findall(r"(?<!`)`\.?([A-Za-z_.]+)(?:\([^`]*\)|=[^`]*)?`", page.read_text(encoding="utf-8"))
    names = {part for text in quoted for part in text.split(".") if "_" in part.strip("_")}
    assert names
    missing = {name for name in names if name not in fields and not re.search(rf"\b{re.escape(name)}\b", SOURCE)}
    assert missing <= {"load_dataset", "from_pretrained"}


def test_paths_of_the_folder_map_exist():
    for path in re.findall(
        r"`((?:src|examples|dataset_scripts|docs|tests|benchmarks)/[\w./]*)`", (ROOT / "README.md").read_text()
    ):
        assert (ROOT / path).exists(), path
