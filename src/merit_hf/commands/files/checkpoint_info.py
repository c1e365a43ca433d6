"""What a checkpoint is, from its JSON files and the headers of its weights; no weight is loaded."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_LARGEST_HEADER = 100_000_000  # bytes, as the safetensors library has it
_SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads")
# Means over the training corpus are stored with the weights, but are no parameters.
_NO_PARAMETERS = "_embeds_mean"


def is_checkpoint(path: str) -> bool:
    """Whether a path is a folder with a model in it."""
    return os.path.isfile(os.path.join(path, "config.json"))


def checkpoint_info(path: str) -> dict[str, Any]:
    """Plain values about a checkpoint folder, ready for JSON.

    Raises:
        ValueError: its files are no JSON or no safetensors, or it has no weights.
    """
    folder = Path(path)
    config = _read_json(folder / "config.json")
    towers = {
        name: _tower(each)
        for name, each in (
            ("ecg", config if config.get("model_type") == "merit_ecg" else config.get("ecg_config")),
            ("text", config.get("text_config")),
        )
        if each
    }
    parameters = _parameters(folder)
    ecg_config = config.get("ecg_config", config)
    labels = config.get("id2label") if any(name == "classifier" for name in parameters) else None
    return {
        "path": path,
        "kind": "checkpoint",
        "model_type": config.get("model_type"),
        "architectures": config.get("architectures") or [],
        "num_parameters": sum(parameters.values()),
        "parameters": parameters,
        "towers": towers,
        "projection_dim": config.get("projection_dim"),
        "patch_size": ecg_config.get("patch_size"),
        "labels": None if labels is None else [labels[number] for number in sorted(labels, key=int)],
        "thresholds": config.get("thresholds"),
        "calibrated": config.get("calibration") is not None,
        "feature_extractor": _feature_extractor(folder),
        "tokenizer": (folder / "tokenizer.json").is_file(),
        "training": _training(folder),
    }


def checkpoint_lines(info: dict[str, Any]) -> dict[str, str]:
    """The same for people: what it is called, and how it is shown."""
    lines = {
        "checkpoint": f"{info['model_type']}, {', '.join(info['architectures']) or 'no class named'}",
        "parameters": f"{info['num_parameters']:,}: "
        + ", ".join(f"{name} {count:,}" for name, count in info["parameters"].items()),
    }
    for name, tower in info["towers"].items():
        sizes = f"{tower['num_hidden_layers']} layers of {tower['hidden_size']}, {tower['num_attention_heads']} heads"
        lines[f"{name} tower"] = f"{tower['model_type']}, {sizes}"
    if info["patch_size"]:
        lines["patches"] = "{} lead(s) x {} samples".format(*info["patch_size"])
    if info["labels"] is not None:
        lines["labels"] = f"{len(info['labels'])}: {', '.join(info['labels'])}"
        thresholds = info["thresholds"] or {}
        lines["thresholds"] = ", ".join(f"{label} {value:.3f}" for label, value in thresholds.items()) or "none"
        lines["calibrated"] = "yes" if info["calibrated"] else "no"
    extractor = info["feature_extractor"]
    if extractor is None:
        lines["input"] = "unknown: no processor_config.json or preprocessor_config.json"
    else:
        lines["input"] = (
            f"{len(extractor['lead_names'])} leads, {extractor['duration']:g} s at {extractor['sampling_rate']:g} Hz, "
            f"normalization {extractor['normalization']}"
            + (" {:g} to {:g} Hz".format(*extractor["bandpass"]) if extractor["bandpass"] else "")
        )
    lines["tokenizer"] = "yes" if info["tokenizer"] else "no"
    if info["training"]:
        last = info["training"].items()
        lines["training"] = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in last)
    return lines


def _tower(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: config.get(name) for name in ("model_type", *_SIZES)}


def _parameters(folder: Path) -> dict[str, int]:
    """Numbers in the weights by the first part of their names, from the headers of the files."""
    index = folder / "model.safetensors.index.json"
    files = sorted(set(_read_json(index)["weight_map"].values())) if index.is_file() else ["model.safetensors"]
    counts: Counter[str] = Counter()
    for name in files:
        if not (folder / name).is_file():
            raise ValueError(f"{folder / name} is missing: a checkpoint has its weights as safetensors")
        for weight, about in _header(folder / name).items():
            if weight != "__metadata__" and not weight.endswith(_NO_PARAMETERS):
                counts[weight.split(".")[0]] += math.prod(about["shape"])
    return dict(sorted(counts.items(), key=lambda entry: -entry[1]))


def _header(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(_LARGEST_HEADER, path.stat().st_size):
            raise ValueError(f"{path} is not a safetensors file: it does not start with the length of its header")
        text = file.read(length)
    return _parsed(text, path)


def _feature_extractor(folder: Path) -> dict[str, Any] | None:
    for name, key in (("processor_config.json", "feature_extractor"), ("preprocessor_config.json", None)):
        if (folder / name).is_file():
            whole = _read_json(folder / name)
            content = whole.get(key) if key else whole
            if content and "lead_names" in content:
                kept = ("sampling_rate", "duration", "lead_names", "normalization", "bandpass", "truncation")
                return {field: content.get(field) for field in kept}
    return None


def _training(folder: Path) -> dict[str, float] | None:
    """The last step, epoch and validation losses in metrics.jsonl."""
    path = folder / "metrics.jsonl"
    if not path.is_file():
        return None
    last: dict[str, float] = {}
    for line in path.read_bytes().splitlines():
        row = _parsed(line, path)
        last |= {
            name: value
            for name, value in row.items()
            if isinstance(value, (int, float)) and (name in ("step", "epoch") or name.startswith("validation_"))
        }
    return last or None


def _read_json(path: Path) -> dict[str, Any]:
    return _parsed(path.read_bytes(), path)


def _parsed(text: bytes, path: Path) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a JSON object, not a {type(content).__name__}")
    return content
