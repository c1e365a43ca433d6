"""merit plot: one picture, a folder of them, or a PDF with a page for each."""

import csv
import io
from pathlib import Path

import matplotlib.image
import pytest


def test_one_ecg_makes_a_picture_of_its_own_size(merit, ecg_folder, tmp_path):
    done = merit("plot", ecg_folder / "ward/d.hea", "--output", tmp_path / "d.png")
    assert done.status == 0
    assert done.out.splitlines()[1].split() == [str(ecg_folder / "ward/d.hea"), str(tmp_path / "d.png")]
    height, width, _ = matplotlib.image.imread(tmp_path / "d.png").shape
    assert width == pytest.approx((15 + 250 + 5) / 25.4 * 150, abs=1)  # 10 s at 25 mm/s, and the margins
    assert height > width / 3
    merit("plot", ecg_folder / "ward/d.hea", "--output", tmp_path / "rows.png", "--layout", "rows")
    assert matplotlib.image.imread(tmp_path / "rows.png").shape[0] > 2 * height


def test_several_make_the_pages_of_a_pdf(merit, ecg_folder, tmp_path):
    done = merit("plot", ecg_folder, "--output", tmp_path / "all.pdf")
    assert done.status == 1
    assert "skipped: " in done.err
    pdf = (tmp_path / "all.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    assert pdf.count(b"/Type /Page ") == 4


def test_several_make_a_folder_with_a_picture_each(merit, ecg_folder, tmp_path):
    files = [ecg_folder / "a.npz", ecg_folder / "ward/c.csv"]
    done = merit("plot", *files, "--output", tmp_path / "pages", "--csv")
    assert done.status == 0
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert [row["output"] for row in rows] == [str(tmp_path / "pages" / name) for name in ("a.png", "ward_c.png")]
    assert all(Path(row["output"]).read_bytes().startswith(b"\x89PNG") for row in rows)


def test_nothing_is_left_of_what_could_not_be_drawn(merit, ecg_folder, tmp_path):
    for output in ("x.png", "x.pdf"):
        assert merit("plot", ecg_folder / "broken.dcm", "--output", tmp_path / output).status == 2
    files = [ecg_folder / "broken.dcm", ecg_folder / "nothing"]
    assert merit("plot", *files, "--output", tmp_path / "two.pdf").status == 2
    assert not list(tmp_path.iterdir())


def test_what_makes_no_sense_is_refused_in_one_line(merit, ecg_folder, small_corpus, tmp_path):
    for words, message in [
        ([ecg_folder, "--output", tmp_path / "x.png"], "one picture, for 6 ECGs"),
        ([ecg_folder / "a.npz", "--output", tmp_path / "x.docx"], "expected a name that ends in one of"),
        ([small_corpus, "--output", tmp_path / "x.pdf"], "is a corpus"),
        ([ecg_folder / "a.npz", "--output", tmp_path / "x.png", "--layout", "4x3"], "expected one of '3x4'"),
    ]:
        done = merit("plot", *words)
        assert done.status == 2
        assert done.err.count("\n") == 1
        assert message in done.err
