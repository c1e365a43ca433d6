"""Which way imports run: from one room to those below it, and never in a circle; and how much a room may hold."""

import ast
from pathlib import Path

import pytest

from merit_hf import __name__ as PACKAGE

SOURCE = Path(__file__).resolve().parents[1] / "src"
FLAT_FILES = sorted((SOURCE / PACKAGE).glob("*_merit.py"))
OPTIONAL = {
    "accelerate", "datasets", "evaluate", "matplotlib", "pandas", "pyarrow", "sklearn", "tensorboard", "wfdb", "yaml",
}  # fmt: skip
MOST_MODULES = 15  # of a room, beside its __init__.py

# Every room, the lowest first. A module may import from its own room and from those named before it. The model family,
# command_line.py and the package itself may be imported everywhere; a room may name the rooms inside it, whose files
# it finds when it runs.
ROOMS = [
    "recipes",
    "io",
    "io.scp",
    "io.wfdb",
    "io.formats",
    "data",
    "data.fetch",
    "data.build",
    "data.corpora",
    "data.load",
    "data.description",
    "simulation",
    "evaluation.metrics.ecg_multilabel",
    "evaluation.metrics",
    "evaluation",
    "evaluation.encoders",
    "evaluation.probes",
    "evaluation.zero_shot",
    "evaluation.shift",
    "evaluation.robustness",
    "plotting",
    "evaluation.benchmark",
    "training",
    "training.loop",
    "training.pretraining",
    "training.finetuning",
    "training.ablation",
    "commands",
    "commands.files",
    "commands.corpora",
    "commands.training",
    "commands.evaluation",
]


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name without `merit_hf.`; a package stands for its `__init__.py`."""
    found = {}
    for path in sorted((SOURCE / PACKAGE).rglob("*.py")):
        parts = path.relative_to(SOURCE / PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def room_of(module: str) -> str:
    """The package that a module lies in; the empty name for what lies at the top."""
    return module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]


def imported_by(module: str) -> set[str]:
    """Modules of this package that a module imports anywhere in its text."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = [PACKAGE, *room_of(module).split(".")] if room_of(module) else [PACKAGE]
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{stem}.{alias.name}" for alias in node.names]
        for name in names:
            if name.split(".")[0] != PACKAGE:
                continue
            name = name.removeprefix(PACKAGE).lstrip(".")
            found.add(name if name in MODULES else name.rpartition(".")[0])
    return found - {module}


def test_every_room_has_its_place():
    assert {room_of(module) for module in MODULES} - {""} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_imports_run_from_a_room_to_those_below_it(room):
    allowed = {"", room, *ROOMS[: ROOMS.index(room)]}
    for module in (module for module in MODULES if room_of(module) == room):
        inside = {other for other in ROOMS if other.startswith(f"{room}.")}
        forbidden = {other for other in imported_by(module) - inside if room_of(other) not in allowed}
        assert not forbidden, f"{module} imports {sorted(forbidden)}"


def test_no_imports_run_in_a_circle():
    imports = {module: imported_by(module) for module in MODULES}
    while leaves := {module for module, others in imports.items() if not others & set(imports)}:
        imports = {module: others for module, others in imports.items() if module not in leaves}
    assert not imports, sorted(imports)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_not_crowded(room):
    names = [module for module in MODULES if room_of(module) == room and module != room]
    assert len(names) <= MOST_MODULES, names


@pytest.mark.parametrize("path", FLAT_FILES, ids=lambda path: path.name)
def test_flat_files_import_only_their_siblings(path):
    # They travel to the Hub as remote code, where neither sub-packages nor absolute imports of merit_hf work.
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            assert node.level == 1
            assert (path.parent / f"{node.module}.py") in FLAT_FILES
            continue
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not {name.split(".")[0] for name in names} & {PACKAGE, *OPTIONAL}, names
