"""ECG files for the commands that take a user's own, and a way to run these as a user does."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from merit_hf import load_sample
from merit_hf.commands.main import run
from merit_hf.leads_merit import STANDARD_12


class Done(NamedTuple):
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str


@pytest.fixture
def merit(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Runs a command in this process: `merit("classify", FILE, "--model", RUN)`."""

    def command(name: str, *words: object) -> Done:
        capsys.readouterr()
        status = 0
        try:
            run(name, [str(word) for word in words])
        except SystemExit as ended:
            status = int(ended.code or 0)
        return Done(status, *capsys.readouterr())

    return command


def write_csv(path: Path, signal: np.ndarray, sampling_rate: float = 100.0) -> None:
    """A text file of an ECG (leads, samples) in mV, which states its rate."""
    lines = [f"# sampling_rate: {sampling_rate:g}", ",".join(STANDARD_12[: len(signal)])]
    lines += [",".join(f"{value:.4f}" for value in row) for row in signal.T]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture(scope="session")
def ecg_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five recordings in four formats, one a WFDB record; a broken one; and files that are none."""
    folder = tmp_path_factory.mktemp("ecgs") / "mine"
    (folder / "ward").mkdir(parents=True)
    sample = load_sample()
    signal = sample.signal[:, ::5]  # 100 Hz
    naming = {"sampling_rate": 100.0, "lead_names": np.array(sample.lead_names)}
    np.savez(folder / "a.npz", signal=signal, **naming)
    np.savez(folder / "b.npz", signal=-signal, **naming)
    write_csv(folder / "ward" / "c.csv", 0.5 * signal[:, :700])
    counts = np.rint(signal[::-1] * 1000).astype("<i2")
    counts.T.tofile(folder / "ward" / "d.dat")
    header = [f"d {len(counts)} 100 {counts.shape[1]}"]
    header += [f"d.dat 16 1000(0)/mV 16 0 0 0 0 {lead}" for lead in reversed(sample.lead_names)]
    (folder / "ward" / "d.hea").write_text("\n".join([*header, "# Age: 61 Sex: M", ""]))
    np.save(folder / "ward" / "e.npy", signal)  # does not state its rate and leads
    (folder / "broken.dcm").write_bytes(b"nothing that a DICOM reader knows")
    (folder / "notes.txt").write_text("an ECG a day\n")
    (folder / "LICENSE").write_text("none\n")
    return folder
