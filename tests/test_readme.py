"""README as a newcomer meets it: every command exists with its options, and what is quick runs, in order, small."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from accelerate.state import AcceleratorState, PartialState
from shown_commands import blocks, check_command, command_of, lines_of, quoted_commands

from merit_hf.commands import main

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md")), ROOT / "docs" / "results" / "README.md"]

# First word of a line -> why it is not run here. Lines with a word in capitals (RUN, OUT.json) are to be filled in.
NOT_RUN = {
    "make": "installs everything, and trains for minutes; test_demo.py runs what it starts",
    "pip": "needs the network",
    "source": "enters the environment that make installs",
    "accelerate": "starts processes; test_pretrain.py does that",
}
# What makes a command small enough to run: words that are replaced, and options that are added.
SMALLER = {"linear-probe": ["--seeds", "1", "--num_resamples", "20", "--fractions", "1.0"]}


def is_pattern(words: list[str]) -> bool:
    return any(re.search(r"(?<![A-Za-z])[A-Z]{2,}", word.split("=")[-1]) for word in words)


def shell_lines(page: Path) -> list[list[str]]:
    return [line for block in blocks(page, "bash") for line in lines_of(block)]


SHOWN = [(page, line) for page in PAGES for line in shell_lines(page)]
QUOTED = [(page, words) for page in PAGES for words in quoted_commands(page)]


@pytest.mark.parametrize(
    ("page", "line"), SHOWN, ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else value.name
)
def test_a_line_of_a_shell_block_is_understood(page, line, monkeypatch):
    if line[0] == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M)
        assert line[1] in targets
    elif line[0] == "pip":
        assert (ROOT / line[line.index("-c") + 1]).is_file()
    elif line[0] == "source":
        venv = re.search(r"^VENV := (\S+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M)
        assert line[1] == f"{venv[1]}/bin/activate"
    elif line != ["merit", "--help"]:
        check_command(line, monkeypatch)


@pytest.mark.parametrize(
    ("page", "words"), QUOTED, ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else value.name
)
def test_a_command_in_running_text_exists(page, words, monkeypatch):
    if words[1] in ("--help", "COMMAND", "NAME"):
        return
    group = [name for name in main.COMMANDS if name.startswith(f"{words[1]} ")]
    if len(words) == 2 and group:
        return
    check_command(words, monkeypatch, complete=False)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lines_are_at_most_119_characters(page):
    long = [line for line in page.read_text(encoding="utf-8").splitlines() if len(line) > 119]
    assert not [line for line in long if not line.lstrip("|- ").startswith(("http", "![", "["))]


def test_table_of_contents_has_every_section():
    text = README.read_text(encoding="utf-8")
    sections = re.findall(r"^## (.+)$", text, flags=re.M)
    anchors = ["#" + re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in sections]
    contents = text[: text.index("\n## ")]
    assert re.findall(r"^- \[(.+)\]\((#.+)\)$", contents, flags=re.M) == list(zip(sections, anchors, strict=True))


def write_own_data(folder: Path) -> None:
    """`my/` as README describes it: 60 WFDB records and a table that begins with README's two lines."""
    import wfdb

    from merit_hf.simulation.corpus import SimulatedRecording, SyntheticCorpus

    header, first = blocks(README, "text")[0].splitlines()[:2]
    simulated = SyntheticCorpus(num_records=60, duration=2.0)
    rows = [next(csv.reader([first]))]
    for patient in range(60):
        record, _ = simulated.record(SimulatedRecording(patient, 0))
        name = rows[0][0] if patient == 0 else f"r{patient}"
        if patient:
            rows.append([name, f"q{patient}", record.report, f"{name}.hea"])
        wfdb.wrsamp(
            name,
            fs=int(record.sampling_rate),
            units=["mV"] * 12,
            sig_name=list(record.lead_names),
            p_signal=record.signal.T.astype(np.float64),
            fmt=["16"] * 12,
            write_dir=str(folder),
        )
    with open(folder / "records.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header.split(","), *rows])


@pytest.mark.slow
def test_the_blocks_run_in_order_in_a_folder_of_ones_own(tmp_path, monkeypatch, small_recipe, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    (tmp_path / "my").mkdir()
    write_own_data(tmp_path / "my")

    def merit(*line: str) -> None:
        AcceleratorState._reset_state(reset_partial_state=True)
        name, words = command_of(list(line))
        words = [str(small_recipe) if word == "merit_tiny" else word for word in words]
        main.run(name, [*words, *SMALLER.get(name, [])])

    # What `make demo` leaves behind, from fewer ECGs.
    size = ("--num_records", "100", "--num_train_epochs", "1", "--seeds", "1")
    merit("merit", "demo", "--config", str(small_recipe), *size)
    ran = []
    text = README.read_text(encoding="utf-8")
    for language, block in re.findall(r"^```(bash|python)\n(.*?)^```", text, flags=re.M | re.S):
        if language == "python":
            capsys.readouterr()
            exec(compile(block, "README.md", "exec"), {})
            answer = capsys.readouterr().out
            assert "left bundle branch block" in answer
            ran.append("python")
            continue
        for line in lines_of(block):
            if line[0] in NOT_RUN or is_pattern(line) or line == ["merit", "--help"]:
                continue
            merit(*line)
            ran.append(command_of(line)[0])
            if "--output" in line:
                assert (tmp_path / line[line.index("--output") + 1]).is_file()
    AcceleratorState._reset_state(reset_partial_state=True)
    PartialState._reset_state()
    assert {"python", "convert table", "describe", "pretrain", "linear-probe"} <= set(ran)
    assert (tmp_path / "runs" / "mine" / "model.safetensors").is_file()
