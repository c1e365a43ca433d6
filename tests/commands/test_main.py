"""The command line as a whole: every command is found, explained without loading torch, and has its launchers."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from merit_hf.commands.corpora.describe import DescribeArguments
from merit_hf.commands.main import COMMANDS, main, run

ROOT = Path(__file__).resolve().parents[2]
WHOLE_SCRIPTS = {"finetune_with_trainer.py"}  # which show how to use the package from Python
LAUNCHERS = sorted(
    path
    for folder in ("examples", "dataset_scripts")
    for path in (ROOT / folder).glob("*.py")
    if path.name not in WHOLE_SCRIPTS
)
HEAVY = ("torch", "transformers", "accelerate", "sklearn", "matplotlib", "scipy.signal")


def merit(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "merit_hf.commands", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def loaded_by(*words: str) -> tuple[str, set[str]]:
    """What a command printed, and the heavy libraries that were loaded for it."""
    code = (
        "import sys; from merit_hf.commands.main import main\n"
        f"sys.argv = ['merit', *{words!r}]\n"
        "try: main()\nexcept SystemExit: pass\n"
        f"print('LOADED', *[name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    printed, _, loaded = done.stdout.rpartition("LOADED")
    return printed, set(loaded.split())


def test_overview_lists_every_command_and_loads_nothing_heavy():
    printed, loaded = loaded_by("--help")
    assert not loaded
    for name, summary in COMMANDS.items():
        assert re.search(rf"^  {re.escape(name)} +{re.escape(summary)}$", printed, flags=re.MULTILINE)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_explains_a_command_and_loads_nothing_heavy(name):
    printed, loaded = loaded_by(*name.split(), "--help")
    assert not loaded
    assert f"merit {name}" in printed
    assert "usage:" in printed
    assert "default:" in printed


def test_a_group_of_commands_lists_its_own():
    printed, _ = loaded_by("convert")
    assert "convert ptb-xl" in printed
    assert "linear-probe" not in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["linear-prob"], "'linear-prob': did you mean 'linear-probe'?"),
        (["convert", "ptbxl"], "'convert ptbxl': did you mean 'convert ptb-xl'?"),
        (["xyzzy"], "expected one of demo"),
        (["pretrain", "merit_tinny"], "packaged recipe (finetune_tiny, merit_base"),
        (["linear-probe", "--modle", "RUN"], "did you mean 'model'?"),
    ],
)
def test_a_mistyped_word_ends_with_one_line(words, message):
    done = merit(*words)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert message in done.stderr


def test_a_missing_library_ends_with_one_line_that_names_the_extra():
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from merit_hf.commands.main import run\n"
        "from merit_hf.io.sample import SAMPLE_FILE\n"
        "import merit_hf.io as io\n"
        "run('plot', [f'{io.__path__[0]}/{SAMPLE_FILE}', '--output', 'never.png'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == 'error: merit plot needs matplotlib: pip install "merit-hf[plot]"\n'


def test_an_interrupted_command_says_so_in_one_line(monkeypatch, capsys):
    def interrupted(arguments: DescribeArguments) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("merit_hf.commands.corpora.describe.main", interrupted)
    with pytest.raises(SystemExit) as ended:
        run("describe", ["--corpus", "C", "--output_dir", "D"])
    assert ended.value.code == 130
    assert capsys.readouterr().err == "merit describe: interrupted\n"


def test_version(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["merit", "--version"])
    main()
    assert re.fullmatch(r"merit-hf \d+\.\d+\.\d+\n", capsys.readouterr().out)


@pytest.mark.parametrize("path", LAUNCHERS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_launchers_start_the_command_they_name(path):
    name = re.search(r'run\("([\w -]+)"\)', path.read_text(encoding="utf-8"))[1]
    done = subprocess.run([sys.executable, path, "--help"], capture_output=True, text=True, check=True)
    assert f"merit {name}" in done.stdout
