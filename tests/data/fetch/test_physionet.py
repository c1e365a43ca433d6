"""Projects of PhysioNet, from a server on this machine: files that a corpus needs, words of failures, commands."""

import hashlib
import multiprocessing
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from coded_records import write_coded_record
from file_server import FileServer
from mimic_tree import write_tree

from merit_hf.command_line import run_command
from merit_hf.commands.corpora.convert_command import convert_command
from merit_hf.data.build.builder import CorpusBuilder
from merit_hf.data.build.open import load_corpus
from merit_hf.data.corpora.cpsc2018 import Cpsc2018
from merit_hf.data.corpora.csn import Csn
from merit_hf.data.corpora.mimic_iv_ecg import MimicIvEcg
from merit_hf.data.corpora.ptb_xl import PtbXl
from merit_hf.data.fetch.http import DownloadError
from merit_hf.data.fetch.physionet import LOCK, MOST_REFUSED, download_files
from merit_hf.data.fetch.project import PhysioNetProject
from merit_hf.simulation.corpus import SyntheticCorpus

PROJECT = PhysioNetProject("made", "1.0")
NEEDED = re.compile(r"wanted/.*")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def server() -> Iterator[FileServer]:
    files = {f"wanted/{number % 3}/{number:02d}.dat": bytes([number]) * 40_000 for number in range(30)}
    with FileServer({**files, "other/x.dat": b"x"}) as server:
        server.files["SHA256SUMS.txt"] = server.checksums()
        yield server


def fetch(server: FileServer, folder: Path, needed: re.Pattern[str] = NEEDED, **options: Any) -> None:
    download_files(PROJECT, folder, needed, url=server.url.rstrip("/"), first_wait=0, **options)


def wanted(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.glob("wanted/*/*")}


def served(server: FileServer) -> dict[str, bytes]:
    return {name: data for name, data in server.files.items() if name.startswith("wanted/")}


def test_addresses() -> None:
    assert PtbXl.project is not None
    assert PtbXl.project.url == "https://physionet.org/files/ptb-xl/1.0.3/"
    assert MimicIvEcg.project is not None
    assert MimicIvEcg.project.url == (
        "https://physionet.org/static/published-projects/mimic-iv-ecg/"
        "mimic-iv-ecg-diagnostic-electrocardiogram-matched-subset-1.0.zip"
    )


def test_what_is_needed_and_no_more_is_fetched_once(server: FileServer, tmp_path: Path) -> None:
    fetch(server, tmp_path / "raw")
    assert wanted(tmp_path / "raw") == served(server)
    assert not (tmp_path / "raw" / "other").exists()
    assert server.num_requests() == 31
    (tmp_path / "raw" / "wanted" / "0" / "00.dat").write_bytes(b"damaged")
    (tmp_path / "raw" / "wanted" / "1" / "01.dat").unlink()
    fetch(server, tmp_path / "raw", connections=1)
    assert wanted(tmp_path / "raw") == served(server)
    assert server.num_requests() == 34


def test_connections_are_kept_and_limited(server: FileServer, tmp_path: Path) -> None:
    fetch(server, tmp_path, connections=3)
    assert 1 <= server.num_connections - 1 <= 3  # one more was for the list
    assert server.most_at_once <= 3


def test_other_forms_of_the_list(server: FileServer, tmp_path: Path) -> None:
    """Two blanks, an asterisk, ./ before the path, capital digits, and lines that say nothing of files."""
    lines = server.checksums().decode().splitlines()
    lines[0] = lines[0].replace(" ", "  ./")
    lines[1] = lines[1].replace(" ", " *")
    digest, _, name = lines[2].partition(" ")
    lines[2] = f"{digest.upper()} {name}"
    server.files["SHA256SUMS.txt"] = "\r\n".join(["# made by hand", "", *lines]).encode()
    fetch(server, tmp_path)
    assert wanted(tmp_path) == served(server)


def test_a_missing_file_is_named_and_the_others_come(server: FileServer, tmp_path: Path) -> None:
    del server.files["wanted/2/05.dat"]
    with pytest.raises(DownloadError) as caught:
        fetch(server, tmp_path)
    assert str(caught.value) == (
        f"{server.url}wanted/2/05.dat: the server answers 404 Not Found; 29 of 30 files are done, the same command "
        "tries the others again; without --download it converts what is there"
    )
    assert len(wanted(tmp_path)) == 29


def test_several_files_with_wrong_bytes(server: FileServer, tmp_path: Path) -> None:
    for name in ("wanted/2/05.dat", "wanted/0/06.dat"):
        server.faults[name] = ["wrong byte", "for ever"]
    with pytest.raises(DownloadError, match=r"has SHA-256 .* \(and 1 more files\); 28 of 30 files are done"):
        fetch(server, tmp_path)
    assert len(wanted(tmp_path)) == 28


def test_an_address_that_has_the_list_alone(server: FileServer, tmp_path: Path) -> None:
    """Nobody waits for thousands of refusals."""
    for name in served(server):
        del server.files[name]
    with pytest.raises(DownloadError, match="404 Not Found; 0 of 30 files are done"):
        fetch(server, tmp_path, connections=1)
    assert server.num_requests() == MOST_REFUSED + 2


def test_a_lost_server_ends_it_and_the_next_call_goes_on(server: FileServer, tmp_path: Path) -> None:
    name = "wanted/2/20.dat"
    server.faults[name] = [(503, {}), "for ever"]
    with pytest.raises(DownloadError) as caught:
        fetch(server, tmp_path, connections=1)
    assert str(caught.value) == (
        f"{server.url}{name}: the server answers 503 Service Unavailable; 20 of 30 files are done, the same command "
        "goes on from there"
    )
    del server.faults[name]
    before = server.num_requests()
    fetch(server, tmp_path, connections=1)
    assert wanted(tmp_path) == served(server)
    assert server.num_requests() - before == 11


def test_no_list(server: FileServer, tmp_path: Path) -> None:
    del server.files["SHA256SUMS.txt"]
    with pytest.raises(DownloadError, match=r"SHA256SUMS.txt: the server answers 404 Not Found; nothing was fetched"):
        fetch(server, tmp_path)


def test_a_list_of_something_else(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="names none of the files of made 1.0"):
        fetch(server, tmp_path, re.compile("nothing"))


@pytest.mark.parametrize("name", ["../out.dat", "/out.dat", "wanted/../../out.dat", "..\\out.dat", "C:out.dat"])
def test_files_outside_of_the_folder_are_refused(name: str, server: FileServer, tmp_path: Path) -> None:
    server.files["SHA256SUMS.txt"] += f"{'0' * 64} {name}\n".encode()
    with pytest.raises(DownloadError, match="is outside of the project"):
        fetch(server, tmp_path / "raw", re.compile(".*"))
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_one_process_at_a_time(server: FileServer, tmp_path: Path) -> None:
    locked, release = (multiprocessing.get_context("fork").Event() for _ in range(2))

    def hold() -> None:
        from filelock import FileLock

        with FileLock(tmp_path / LOCK):
            locked.set()
            release.wait(60)

    process = multiprocessing.get_context("fork").Process(target=hold)
    process.start()
    locked.wait(60)
    with pytest.raises(DownloadError, match="another process is downloading into"):
        fetch(server, tmp_path)
    release.set()
    process.join()
    fetch(server, tmp_path)


@pytest.mark.parametrize("connections", [0, 17])
def test_connections_out_of_range(connections: int, server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"connections must be 1 to 16, not {connections}"):
        fetch(server, tmp_path, connections=connections)


# --- the commands ----------------------------------------------------------------------------------------------------


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], corpus: type[CorpusBuilder], **options: object
) -> tuple[int, str]:
    """Exit status and last line of the errors."""
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    main: Any = convert_command(corpus)
    try:
        run_command(main, main.__annotations__["arguments"], "", words)
    except SystemExit as stop:
        return int(str(stop.code)), capsys.readouterr().err.strip().splitlines()[-1]
    return 0, ""


def serve_tree(folder: Path) -> FileServer:
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    server = FileServer(files)
    server.files["SHA256SUMS.txt"] = server.checksums()
    return server


def test_ptb_xl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """From nothing to a corpus, with the signals of one sampling rate alone."""
    source = tmp_path / "source"
    for rate, suffix in ((100, "lr"), (500, "hr")):
        write_coded_record(source / f"records{rate}" / "00000", f"00001_{suffix}", None)
        (source / f"records{rate}" / "00000" / f"00001_{suffix}.mat").rename(
            source / f"records{rate}" / "00000" / f"00001_{suffix}.dat"
        )
    for path in source.rglob("*.hea"):
        path.write_text(path.read_text().replace(".mat", ".dat"))
    (source / "scp_statements.csv").write_text(
        ",description,diagnostic,form,rhythm,diagnostic_class,diagnostic_subclass\nNORM,normal,1.0,,,NORM,NORM\n"
    )
    (source / "ptbxl_database.csv").write_text(
        "ecg_id,patient_id,age,sex,report,scp_codes,strat_fold,filename_lr,filename_hr\n"
        "1,7.0,50.0,1,normales ekg,{'NORM': 100.0},1,records100/00000/00001_lr,records500/00000/00001_hr\n"
    )
    with serve_tree(source) as server:
        options = {"data_dir": tmp_path / "raw", "output_dir": tmp_path / "C", "download_url": server.url}
        status, message = run(monkeypatch, capsys, PtbXl, **options, download="true", sampling_rate=250)
        assert (status, server.num_requests()) == (2, 0)
        assert "published at sampling_rate 100 and 500 Hz, not 250" in message
        assert run(monkeypatch, capsys, PtbXl, **options, download="true") == (0, "")
    assert load_corpus(tmp_path / "C", "train")["ecg_id"] == ["1"]
    assert not (tmp_path / "raw" / "records500").exists()


@pytest.mark.parametrize(
    ("corpus", "folder", "names", "others"),
    [
        (Cpsc2018, "training/cpsc_2018/g1", ["A0001", "A0002"], ["training/cpsc_2018_extra/g1/Q0001"]),
        (Csn, "WFDBRecords/01/010", ["JS00001", "JS00002"], []),
    ],
)
def test_coded_corpora(
    corpus: type[CorpusBuilder],
    folder: str,
    names: list[str],
    others: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for path in [*(f"{folder}/{name}" for name in names), *others]:
        write_coded_record((tmp_path / "source" / path).parent, Path(path).name, "426783006")
    with serve_tree(tmp_path / "source") as server:
        options = {"data_dir": tmp_path / "raw", "output_dir": tmp_path / "C", "download_url": server.url}
        assert run(monkeypatch, capsys, corpus, **options, download="true") == (0, "")
        assert server.num_requests() == 1 + 2 * len(names)
    corpora = load_corpus(tmp_path / "C")
    assert sorted(ecg_id for split in corpora.values() for ecg_id in split["ecg_id"]) == names


def test_mimic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The archive: its size is said first, a cut is taken up, and what is there is not fetched again."""
    write_tree(tmp_path / "source", 6, num_samples=1000)
    with zipfile.ZipFile(tmp_path / "made.zip", "w") as archive:
        for path in (tmp_path / "source").rglob("*"):
            archive.write(path, Path("mimic-1.0") / path.relative_to(tmp_path / "source"))
    with FileServer({"made.zip": (tmp_path / "made.zip").read_bytes()}) as server:
        server.faults["made.zip"] = ["drop"]
        url = f"{server.url}made.zip"
        options = {"output_dir": tmp_path / "C", "download": "true", "download_url": url}

        status, message = run(monkeypatch, capsys, MimicIvEcg, **options, data_dir=tmp_path)
        assert status == 2
        assert "give the name of the file to write, such as" in message
        status, message = run(monkeypatch, capsys, MimicIvEcg, **options, data_dir=tmp_path / "raw" / "m.zip")
        assert status == 2
        assert "mimic-iv-ecg is an archive of 33 GB" in message
        assert "Pass --accept_size" in message
        assert server.num_requests() == 0

        options |= {"accept_size": "true", "data_dir": tmp_path / "raw" / "m.zip"}
        assert run(monkeypatch, capsys, MimicIvEcg, **options) == (0, "")
        assert [headers.get("Range") is None for headers in server.requests["made.zip"]] == [True, False]
        assert run(monkeypatch, capsys, MimicIvEcg, **options, overwrite="true") == (0, "")
        assert server.num_requests() == 2
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "raw").glob("*.zip")]
    assert digests == [hashlib.sha256((tmp_path / "made.zip").read_bytes()).hexdigest()]


def test_no_room_for_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Usage:
        free = 10

    with FileServer({"made.zip": b"x" * 1000}) as server:
        monkeypatch.setattr("shutil.disk_usage", lambda path: Usage)
        status, message = run(
            monkeypatch,
            capsys,
            MimicIvEcg,
            output_dir=tmp_path / "C",
            data_dir=tmp_path / "m.zip",
            download="true",
            accept_size="true",
            download_url=f"{server.url}made.zip",
        )
    assert status == 2
    assert "GB more than are free there" in message


def test_options_are_where_they_mean_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, message = run(monkeypatch, capsys, SyntheticCorpus, output_dir=tmp_path / "C", download="true")
    assert (status, "unknown field 'download'" in message) == (2, True)
    status, message = run(
        monkeypatch, capsys, Csn, output_dir=tmp_path / "C", data_dir=tmp_path, download_url="http://127.0.0.1"
    )
    assert (status, "nothing is downloaded without --download" in message) == (2, True)
