"""Packaged JSON: found by name or by path, and refused in one line."""

import json
from pathlib import Path

import pytest

from merit_hf.packaged_json import PackagedJson

PROMPTS = PackagedJson("merit_hf.evaluation.zero_shot", "prompts", "prompts")


def test_a_packaged_name_and_a_path_give_the_same_content(tmp_path: Path) -> None:
    content = PROMPTS.read("synthetic")
    copy = tmp_path / "copy.json"
    copy.write_text(json.dumps(content))
    assert PROMPTS.read(copy) == content
    assert "synthetic" in PROMPTS.names()
    assert PROMPTS.names() == sorted(PROMPTS.names())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "prompts .* is not valid JSON"),
        ('{"a": {"b": 1, "b": 2}}', r"the keys \['b'\] occur twice"),
        (None, r"prompts .* is neither a file nor one of the packaged names \['cpsc2018', 'csn'"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "mine.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        PROMPTS.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
