"""Writes records as PhysioNet publishes CPSC2018 and CSN: a WFDB header with diagnoses in `#Dx`, and a `.mat` file."""

from pathlib import Path

import numpy as np
from scipy.io import savemat

from merit_hf.leads_merit import STANDARD_12


def write_coded_record(
    folder: Path, name: str, diagnoses: str | None, *, num_samples: int = 600, age: str = "61", sex: str = "Female"
) -> np.ndarray:
    """Writes NAME.hea and NAME.mat and returns the counts, int16 (12, num_samples); no `#Dx` line if None."""
    folder.mkdir(parents=True, exist_ok=True)
    counts = np.random.default_rng(list(name.encode())).integers(-900, 900, (12, num_samples)).astype(np.int16)
    savemat(folder / f"{name}.mat", {"val": counts}, format="4")
    leads = [
        f"{name}.mat 16+24 1000/mV 16 0 {lead[0]} 0 0 {lead_name}"
        for lead, lead_name in zip(counts, STANDARD_12, strict=True)
    ]
    comments = [f"#Age: {age}", f"#Sex: {sex}", *([] if diagnoses is None else [f"#Dx: {diagnoses}"]), "#Rx: Unknown"]
    header = [f"{name} 12 500 {num_samples} 05-Feb-2020 11:39:16", *leads, *comments]
    (folder / f"{name}.hea").write_text("\n".join(header) + "\n")
    return counts
