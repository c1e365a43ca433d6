"""The package as a whole: what importing it loads and registers, what the wheel holds, which way its imports run."""

import json
import shutil
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoModelForPreTraining
from transformers.pipelines import PIPELINE_REGISTRY

import merit_hf

ROOT = Path(__file__).resolve().parents[1]
OPTIONAL = {
    "accelerate", "datasets", "evaluate", "matplotlib", "pandas", "pyarrow", "sklearn", "tensorboard", "wfdb", "yaml",
}  # fmt: skip


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_import_loads_no_optional_package_and_next_to_nothing_else():
    code = (
        "import json, sys, transformers.pipelines; before = set(sys.modules); import merit_hf; "
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    added = json.loads(run_python(code))
    assert not OPTIONAL & {name.split(".")[0] for name in added}
    assert "scipy.signal" not in added
    own = [name for name in added if name.split(".")[0] == "merit_hf"]
    assert not [name for name in own if name.count(".") > 1], "sub-packages load when first used"
    # What costs time is the number of modules beyond the pipelines', which are there anyway.
    assert len(added) - len(own) < 60, added


def test_every_public_name_resolves_and_unknown_ones_do_not():
    for name in merit_hf.__all__:
        assert getattr(merit_hf, name) is not None
        assert name in dir(merit_hf)
    with pytest.raises(AttributeError, match="MeritModle"):
        _ = merit_hf.MeritModle


def test_sub_packages_are_light():
    code = (
        "import json, sys, merit_hf; before = set(sys.modules); "
        "import merit_hf.data, merit_hf.training, merit_hf.evaluation; "
        "print(json.dumps(sorted({m.split('.')[0] for m in set(sys.modules) - before})))"
    )
    assert not OPTIONAL & set(json.loads(run_python(code)))


def test_auto_classes_make_and_open_our_classes(tmp_path):
    config = merit_hf.MeritConfig.from_preset("tiny", text_config={"model_type": "bert", "num_hidden_layers": 1})
    ecg_config = config.ecg_config
    assert type(AutoModel.from_config(config)) is merit_hf.MeritModel
    assert type(AutoModel.from_config(ecg_config)) is merit_hf.MeritEcgModel
    assert type(AutoModelForPreTraining.from_config(config)) is merit_hf.MeritForPreTraining
    for own in (config, ecg_config):
        folder = tmp_path / own.model_type
        own.save_pretrained(folder)
        assert type(AutoConfig.from_pretrained(folder)) is type(own)
        # An extractor of our class, found through the model type although the file does not name a class.
        merit_hf.MeritFeatureExtractor(sampling_rate=250).save_pretrained(folder)
        file = folder / "preprocessor_config.json"
        saved = json.loads(file.read_text())
        saved.pop("feature_extractor_type", None)
        file.write_text(json.dumps(saved))
        extractor = AutoFeatureExtractor.from_pretrained(folder)
        assert type(extractor) is merit_hf.MeritFeatureExtractor
        assert extractor.sampling_rate == 250


@pytest.mark.parametrize("task", ["ecg-zero-shot-classification", "ecg-classification", "ecg-feature-extraction"])
def test_pipelines_are_registered(task):
    _, found, _ = PIPELINE_REGISTRY.check_task(task)
    assert found["impl"].__module__ == "merit_hf.pipeline_merit"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    """The wheel, built offline from a copy, so that no build folder is left in the repository."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", source / "src", ignore=ignored)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*command, "--wheel-dir", folder, source], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("merit_hf-*.whl")
    return zipfile.ZipFile(built)


def test_wheel_holds_code_and_data(wheel):
    names = set(wheel.namelist())
    package = ROOT / "src" / "merit_hf"
    code = {f"merit_hf/{path.relative_to(package).as_posix()}" for path in package.rglob("*.py")}
    assert code <= names, sorted(code - names)
    assert {"merit_hf/py.typed", "merit_hf/io/sample_record.npz"} <= names
    for folder in (
        "data/corpora/labels",
        "evaluation/benchmark/published",
        "evaluation/robustness/curves",
        "evaluation/shift/label_maps",
        "evaluation/zero_shot/prompts",
    ):
        data = {f"merit_hf/{path.relative_to(package).as_posix()}" for path in (package / folder).iterdir()}
        assert data, folder
        assert data <= names, sorted(data - names)
    assert not [name for name in names if not name.startswith(("merit_hf/", "merit_hf-"))]
    assert sum(item.file_size for item in wheel.infolist()) < 2_000_000


def test_wheel_metadata(wheel):
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    metadata = message_from_bytes(wheel.read(name))
    assert metadata["Version"] == merit_hf.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert {"all", "data", "eval", "plot", "test", "train"} <= set(metadata.get_all("Provides-Extra"))
    pinned = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            (version,) = requirement.specifier
            pinned[requirement.name.lower().replace("_", "-")] = Version(version.version)
    for text in metadata.get_all("Requires-Dist"):
        requirement = Requirement(text)
        # Every direct dependency was tested at a stated version, which its lower bound admits.
        assert pinned[requirement.name.lower()] in requirement.specifier, text


def test_version_is_stated_once(wheel):
    assert f"\nversion: {merit_hf.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
