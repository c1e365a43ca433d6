"""What `merit` knows: its commands in groups, how they are listed, and how one is started.

Nothing heavy is imported before a command runs, so that every `--help` answers at once.
"""

from __future__ import annotations

import difflib
import importlib
import os
import shlex
import sys
import typing
from collections.abc import Sequence

from merit_hf import __version__
from merit_hf.command_line import run_command

# title of a group, and the folder beside this file that holds its commands -> command -> what it does. The module of a
# command is named by its last word: that of "convert ptb-xl" is corpora/ptb_xl.py.
GROUPS: dict[tuple[str, str], dict[str, str]] = {
    ("Try it", ""): {
        "demo": "simulate ECGs, pretrain on them, name findings zero-shot, draw the result",
    },
    ("Your files", "files"): {
        "classify": "score findings in ECG files, by words or by a fine-tuned classifier",
        "embed": "a vector for each ECG of files or a corpus, as Parquet",
        "plot": "draw ECG files on paper, true to scale",
        "info": "what a file, a model or a corpus is",
    },
    ("Corpora", "corpora"): {
        "convert ptb-xl": "PTB-XL as PhysioNet has it",
        "convert mimic-iv-ecg": "MIMIC-IV-ECG, unpacked or as its zip",
        "convert cpsc2018": "CPSC2018 as the PhysioNet Challenge has it",
        "convert csn": "Chapman-Shaoxing-Ningbo as PhysioNet has it",
        "convert table": "your own records: a table, a folder of files, or an array",
        "convert synthetic": "simulated 12-lead ECGs with reports and true measurements",
        "describe": "what a corpus holds: labels, reports, signals, patients, leaks",
    },
    ("Training", "training"): {
        "pretrain": "learn from ECGs and reports",
        "finetune": "train a classifier on the labels of a task",
    },
    ("Evaluation", "evaluation"): {
        "zero-shot": "classify by prompts alone",
        "linear-probe": "what frozen features know, at shares of the labels",
        "structure-probe": "intervals, axes and amplitudes in frozen features",
        "distribution-shift": "train a probe on one corpus, test it on another",
        "robustness": "fewer leads, lower rates, noise, exchanged electrodes",
        "compare-predictions": "is model A better than model B?",
        "error-analysis": "where two models differ, and the worst ECGs",
        "ablation": "train each loss alone and both, with several seeds",
        "benchmark": "models x corpora x tasks, as tables and pictures",
    },
}
_started: list[str] = []
_EXTRA_OF = {
    "accelerate": "train", "datasets": "data", "matplotlib": "plot", "pyarrow": "data", "sklearn": "eval",
    "wfdb": "data", "xxhash": "data",
}  # fmt: skip
_CLOSED_PIPE = 141  # the status of a process that SIGPIPE ended
_INTERRUPTED = 130  # ... that SIGINT ended
COMMANDS = {name: summary for commands in GROUPS.values() for name, summary in commands.items()}


def main() -> None:
    """Entry of the console script: starts the command that the command line names."""
    words = sys.argv[1:]
    if not words or words[0] in ("--help", "-h", "help"):
        print(overview())
        return
    if words[0] == "--version":
        print(f"merit-hf {__version__}")
        return
    for length in (2, 1):
        name = " ".join(words[:length])
        if len(words) >= length and name in COMMANDS:
            run(name, words[length:])
            return
    below = [name for name in COMMANDS if name.startswith(f"{words[0]} ")]
    if below and (len(words) == 1 or words[1] in ("--help", "-h")):
        print("\n".join([f"usage: merit {words[0]} NAME ...", "", *_lines(below)]))
        return
    print(f"error: {unknown(words, below)}", file=sys.stderr)
    raise SystemExit(2)


def run(name: str, argv: Sequence[str] | None = None) -> None:
    """Runs one command; bad input ends the process with status 2 and one line, and so does a missing library.

    Where the reader of its output has gone (`| head`), the command ends at once and says nothing; after Ctrl-C it says
    so in one line.

    Args:
        name: of the command, as in `COMMANDS`.
        argv: its words; None takes those of the process.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    _started.append(shlex.join(["merit", *name.split(), *words]))
    folder = next(folder for (_, folder), commands in GROUPS.items() if name in commands)
    path = [str(__package__), folder, name.split()[-1].replace("-", "_")]
    try:
        module = importlib.import_module(".".join(filter(None, path)))
        arguments_class = typing.get_type_hints(module.main)["arguments"]
        run_command(module.main, arguments_class, module.__doc__ or "", words, f"merit {name}")
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more when it ends, which must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(_CLOSED_PIPE) from None
    except KeyboardInterrupt:
        if os.environ.get("MERIT_TRACEBACK") == "1":
            raise
        print(f"merit {name}: interrupted", file=sys.stderr)
        raise SystemExit(_INTERRUPTED) from None
    except ModuleNotFoundError as error:
        library = (error.name or "").split(".")[0]
        extra = _EXTRA_OF.get(library)
        if extra is None or os.environ.get("MERIT_TRACEBACK") == "1":
            raise
        print(f'error: merit {name} needs {library}: pip install "merit-hf[{extra}]"', file=sys.stderr)
        raise SystemExit(2) from None


def started_as() -> str:
    """The command line of the command that runs, for results that say how they were made."""
    return _started[-1]


def module_words(name: str) -> list[str]:
    """The words after `python` or a launcher that start a command in another process."""
    return ["-m", str(__package__), *name.split()]


def overview() -> str:
    """What `merit --help` prints: every command in its group, with a line each."""
    lines = ["MERIT: learn from ECGs and reports, then name findings in words.", "", "usage: merit COMMAND ..."]
    for (title, _), commands in GROUPS.items():
        lines += ["", title, *_lines(commands)]
    lines += ["", "merit COMMAND --help explains a command. Research software, not a medical device."]
    return "\n".join(lines)


def _lines(names: typing.Iterable[str]) -> list[str]:
    width = max(map(len, COMMANDS)) + 2
    return [f"  {name:<{width}}{COMMANDS[name]}" for name in names]


def unknown(words: Sequence[str], below: Sequence[str]) -> str:
    """The complaint about words that name no command."""
    given = " ".join(words[:2]) if below else words[0]
    near = difflib.get_close_matches(given, COMMANDS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(below or COMMANDS)}"
    return f"merit has no command {given!r}: {hint}"
