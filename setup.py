"""Metadata, dependencies and package data of merit-hf. Tool settings: pyproject.toml; tested: constraints.txt."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def read_version() -> str:
    """The one place that states the version is `src/merit_hf/__init__.py`."""
    source = (ROOT / "src" / "merit_hf" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', source, flags=re.MULTILINE)
    if found is None:
        raise RuntimeError("src/merit_hf/__init__.py states no __version__")
    return found.group(1)


extras = {
    "data": ["datasets>=4.0", "wfdb>=4.3", "pandas>=2.2", "pyarrow>=17.0", "requests>=2.31", "xxhash>=3.5"],
    "train": ["accelerate>=1.10", "pyyaml>=6.0", "tensorboard>=2.18"],
    "eval": ["scikit-learn>=1.5", "joblib>=1.4", "evaluate>=0.4.6"],
    "formats": ["pydicom>=3.0"],
    "ecgdatakit": ["ecgdatakit>=2.0"],
    "plot": ["matplotlib>=3.9"],
    "test": [
        "ecgdatakit>=2.0",
        "edfio>=0.4.12",
        "hypothesis>=6.100",
        "mypy>=1.15",
        "parameterized>=0.9",
        "pytest>=8.0",
        "pytest-timeout>=2.3",
        "pytest-xdist>=3.6",
        "ruff>=0.11",
        "setuptools>=77.0",
        "sierraecg>=0.4",
        "types-PyYAML>=6.0",
    ],
}
extras["all"] = sorted({requirement for requirements in extras.values() for requirement in requirements})

setup(
    name="merit-hf",
    version=read_version(),
    description="MERIT in the Hugging Face stack: pretraining on ECG-report pairs and zero-shot ECG classification",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    keywords=[
        "ECG",
        "electrocardiogram",
        "self-supervised learning",
        "contrastive learning",
        "zero-shot",
        "transformers",
    ],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Medical Science Apps.",
        "Typing :: Typed",
    ],
    package_dir={"": "src"},
    packages=find_packages("src"),
    package_data={
        "merit_hf": [
            "py.typed",
            "data/corpora/labels/*.json",
            "evaluation/robustness/curves/*.json",
            "evaluation/metrics/ecg_multilabel/README.md",
            "evaluation/metrics/ecg_multilabel/requirements.txt",
            "evaluation/shift/label_maps/*.json",
            "evaluation/zero_shot/prompts/*",
            "evaluation/benchmark/published/*.json",
            "io/sample_record.npz",
            "recipes/*.yaml",
        ]
    },
    python_requires=">=3.10",
    install_requires=[
        "torch>=2.6",
        "transformers>=5.20",
        "numpy>=1.26",
        "scipy>=1.11",
        "safetensors>=0.5",
        "huggingface-hub>=1.31",
    ],
    extras_require=extras,
    entry_points={"console_scripts": ["merit = merit_hf.commands.main:main"]},
)
