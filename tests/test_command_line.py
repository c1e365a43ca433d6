"""The command line of the commands: files, overrides, types, help, and what is said about mistakes."""

from dataclasses import dataclass
from typing import Any, Literal

import pytest
import yaml

from merit_hf.command_line import build, help_text, option, parse_arguments, read_yaml, run_command, write_yaml


@dataclass(kw_only=True)
class Part:
    rate: float | None = option(None, help="a rate", unit="Hz")
    name: str = option("x", help="a name")


@dataclass(frozen=True, kw_only=True)
class Inner:
    width: int | None = option(otherwise={"small": 1, "big": 8}, help="a width")


@dataclass(frozen=True, kw_only=True)
class Shape:
    depth: int | None = option(otherwise=12, help="a depth")
    inner: Inner = option(Inner(), help="more of the shape")


@dataclass(frozen=True)
class Filter:
    order: int = option(3, help="an order")

    def __post_init__(self) -> None:
        if self.order < 1:
            raise ValueError(f"order={self.order} must be at least 1")


@dataclass(kw_only=True)
class Everything:
    path: str = option(help="a required path")
    count: int = option(3, help="a count", unit="records")
    share: float = option(0.5, help="a share")
    layers: int | Literal["all"] = option(0, help="layers")
    limit: int | None = option(None, help="a limit")
    fast: bool = option(False, help="a switch")
    mode: Literal["slow", "quick"] = option("slow", help="a mode")
    sizes: list[int] = option([1], help="sizes")
    band: tuple[float, float] | None = option(None, help="a band", unit="Hz")
    free: dict[str, Any] = option({}, help="free fields")
    shares: dict[str, float] = option({}, help="shares", keys=("NORM", "AFIB"))
    shape: Shape = option(Shape(), help="a shape")
    filter: Filter | None = option(Filter(), help="a filter; null switches it off")
    parts: list[Part] = option([], help="parts")


def parse(*words: str) -> Everything:
    return parse_arguments(Everything, ["--path", "p", *words])


def test_defaults_are_copied_for_every_instance() -> None:
    first, second = parse(), parse()
    first.sizes.append(2)
    assert second.sizes == [1]
    assert (first.count, first.share, first.layers, first.mode) == (3, 0.5, 0, "slow")


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (["--count", "7"], "count", 7),
        (["--count=7"], "count", 7),
        (["--share", "1e-3"], "share", 0.001),
        (["--share", "-2"], "share", -2.0),
        (["--layers", "all"], "layers", "all"),
        (["--layers", "4"], "layers", 4),
        (["--limit", "null"], "limit", None),
        (["--limit", "5"], "limit", 5),
        (["--fast"], "fast", True),
        (["--fast", "false"], "fast", False),
        (["--mode", "quick"], "mode", "quick"),
        (["--sizes", "4", "5"], "sizes", [4, 5]),
        (["--sizes", "[4, 5]"], "sizes", [4, 5]),
        (["--sizes", "4"], "sizes", [4]),
        (["--band", "0.5", "40"], "band", (0.5, 40.0)),
        (["--free.depth", "2"], "free", {"depth": 2}),
        (["--free.depth", "2e-4"], "free", {"depth": 2e-4}),
        (["--free.inner.width", "1", "50"], "free", {"inner": {"width": [1, 50]}}),
        (["--shares.AFIB", "1"], "shares", {"AFIB": 1.0}),
        (["--shape.depth", "2"], "shape", Shape(depth=2)),
        (["--shape.inner.width", "5"], "shape", Shape(inner=Inner(width=5))),
        (["--filter.order", "4"], "filter", Filter(4)),
        (["--filter", "null"], "filter", None),
        (["--free.depth", "deep"], "free", {"depth": "deep"}),
        (["--path", "12"], "path", "12"),
        (["--parts.0.rate", "4", "--parts.1.name", "z"], "parts", [Part(rate=4.0), Part(name="z")]),
    ],
)
def test_overrides_take_the_type_of_their_field(words: list[str], field: str, value: object) -> None:
    found = getattr(parse(*words), field)
    assert found == value
    assert type(found) is type(value)


def test_overrides_change_only_their_own_field_of_a_file(tmp_path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("path: p\nshape: {depth: 1, inner: {width: 3}}\nparts: [{rate: 1e-3}, {name: y}]\nshare: 1e-3\n")
    found = parse_arguments(Everything, [str(file), "--shape.inner.width", "4", "--parts.1.rate", "9"])
    assert found.shape == Shape(depth=1, inner=Inner(width=4))
    assert found.parts == [Part(rate=0.001), Part(rate=9.0, name="y")]
    assert found.share == 0.001


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--cuont", "1"], "unknown field 'cuont' on the command line: did you mean 'count'"),
        (["--shape.dept", "1"], "unknown field 'shape.dept' on the command line: did you mean 'shape.depth'"),
        (["--depth", "1"], "unknown field 'depth' on the command line: did you mean 'shape.depth'"),
        (["--shape.inner.wdith", "1"], "did you mean 'shape.inner.width'"),
        (["--shape.inner.width", "wide"], "shape.inner.width is 'wide', expected int"),
        (["--shape", "3"], "shape is '3', expected fields, e.g. --shape.depth VALUE"),
        (["--shares.AFB", "1"], "unknown field 'shares.AFB' on the command line: did you mean 'shares.AFIB'"),
        (["--filter.order", "0"], "filter: order=0 must be at least 1"),
        (["--filter.ordr", "2"], "did you mean 'filter.order'"),
        (["--zzzzz", "1"], "unknown field 'zzzzz' on the command line: the fields here are path, count"),
        (["--count", "many"], "count is 'many', expected int"),
        (["--count", "1.5"], "count is '1.5', expected int"),
        (["--share", "half"], "share is 'half', expected float"),
        (["--fast", "perhaps"], "fast is 'perhaps', expected bool"),
        (["--mode", "quik"], "mode is 'quik', expected one of 'slow', 'quick'"),
        (["--band", "1"], "band has 1 values, expected 2"),
        (["--parts.1.rate", "1"], "--parts.1.rate: '1' is not one of the 0 items"),
        (["word"], None),
    ],
)
def test_mistakes_name_the_field_and_the_remedy(words: list[str], message: str | None) -> None:
    if message is None:  # a word after an option's value belongs to that option: two values for a single one
        with pytest.raises(ValueError, match="path is"):
            parse(*words)
        return
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        parse(*words)


def test_a_list_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="--sizes is given twice"):
        parse("--sizes", "4", "--count", "1", "--sizes=5")
    assert parse("--count", "1", "--count", "2").count == 2


def test_unknown_field_of_a_file_names_the_file(tmp_path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("path: p\nparts: [{rat: 1}]\n")
    with pytest.raises(ValueError, match=r"unknown field 'parts.0.rat' in .*recipe.yaml: did you mean 'parts.0.rate'"):
        parse_arguments(Everything, [str(file)])


def test_unreadable_files(tmp_path) -> None:
    with pytest.raises(ValueError, match="is not a file"):
        read_yaml(tmp_path / "absent.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(ValueError, match="not a list"):
        read_yaml(tmp_path / "list.yaml")
    (tmp_path / "broken.yaml").write_text("a: [1\n")
    with pytest.raises(ValueError, match="not readable as YAML"):
        read_yaml(tmp_path / "broken.yaml")


def test_required_field_is_asked_for() -> None:
    with pytest.raises(ValueError, match="--path is missing: a required path"):
        parse_arguments(Everything, [])


def test_written_arguments_read_back_equal(tmp_path) -> None:
    given = parse("--band", "0.5", "40", "--free.depth", "2", "--layers", "all", "--fast", "--shape.inner.width", "7")
    given.parts = [Part(rate=1e-7), Part(name="über")]
    write_yaml(given, tmp_path / "a.yaml")
    assert parse_arguments(Everything, [str(tmp_path / "a.yaml")]) == given
    written = yaml.safe_load((tmp_path / "a.yaml").read_text())
    assert build(Everything, written) == given
    # What other code decides is not written, so that it can go on deciding it.
    assert written["shape"] == {"inner": {"width": 7}}


def test_help_tells_every_field_with_unit_and_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_arguments(Everything, ["--help"], "What it does.")
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert text.strip() == help_text(Everything, "What it does.")
    assert text.startswith("What it does.")
    assert "--path  (str, required)" in text
    assert "--count  (int, in records, default: 3)" in text
    assert "--layers  (int | all, default: 0)" in text
    assert "--parts.N.rate  (float | null, in Hz, default: null)" in text
    assert "--shape  (fields)" in text
    assert "--shape.depth  (int, default: 12)" in text
    assert "--shape.inner.width  (int, default: 1 (small), 8 (big))" in text
    assert "--filter  (fields | null)" in text
    assert "--filter.order  (int, default: 3)" in text


def test_bad_input_ends_with_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["command", "--path", "p"])

    def refuse(arguments: Everything) -> None:
        raise ValueError(f"no corpus in {arguments.path}")

    with pytest.raises(SystemExit) as ended:
        run_command(refuse, Everything)
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: no corpus in p\n"
    monkeypatch.setenv("MERIT_TRACEBACK", "1")
    with pytest.raises(ValueError, match="no corpus"):
        run_command(refuse, Everything)


def test_usage_shows_nested_fields_only_where_there_are_some(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments_class in (Everything, Part):
        with pytest.raises(SystemExit):
            parse_arguments(arguments_class, ["--help"], name="merit it")
    usages = [line for line in capsys.readouterr().out.splitlines() if line.startswith("usage:")]
    assert usages == [
        "usage: merit it [FILE.yaml] [--field value ...]   nested fields: --shape.depth VALUE",
        "usage: merit it [FILE.yaml] [--field value ...]",
    ]


def test_a_long_complaint_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(arguments: Everything) -> None:
        raise ValueError("\n".join(str(number) for number in range(1000)))

    with pytest.raises(SystemExit):
        run_command(refuse, Everything, argv=["--path", "p"])
    shown = capsys.readouterr().err
    assert shown.startswith("error: 0 1 2")
    assert len(shown) <= 400
    assert shown.count("\n") == 1


@dataclass
class Positional:
    """Words before the options."""

    files: list[str] = option(help="what to read", positional="FILE...")
    labels: list[str] | None = option(None, help="names")


@pytest.mark.parametrize(
    ("words", "files", "labels"),
    [
        (["a.dat", "b.dat"], ["a.dat", "b.dat"], None),
        (["[1].dat", "--labels", "x", "y"], ["[1].dat"], ["x", "y"]),
        (["--labels", "x", "y", "--", "a.dat", "--odd"], ["a.dat", "--odd"], ["x", "y"]),
        (["-", "--labels", "x", "--", "b.dat"], ["-", "b.dat"], ["x"]),
        (["--files", "a.dat", "--labels", "x"], ["a.dat"], ["x"]),
    ],
)
def test_a_list_field_may_take_the_words_before_the_options(words, files, labels):
    assert parse_arguments(Positional, words) == Positional(files, labels)


def test_positional_words_are_named_in_help_and_where_they_are_missing(capsys):
    with pytest.raises(SystemExit):
        parse_arguments(Positional, ["--help"], "What it does.", "merit look")
    shown = capsys.readouterr().out
    assert "usage: merit look FILE... [--field value ...]" in shown
    assert "  FILE...  (list of str, required)" in shown
    with pytest.raises(ValueError, match=r"^FILE\.\.\. is missing: what to read$"):
        parse_arguments(Positional, ["--labels", "x"])
