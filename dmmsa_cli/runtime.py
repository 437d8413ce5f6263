"""What a run stands on: the device, the precision, the seed, and the versions that its numbers depend on."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import torch

from dmmsa_cli import __version__
from dmmsa_cli.commands import under_way
from dmmsa_cli.errors import DeviceUnavailable
from dmmsa_cli.plain import shown

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "float32", "bf16"]

LARGEST_SEED = 2**53 - 1

_RECORDED = ("torch", "transformers", "tokenizers", "numpy", "scipy", "pandas", "pyarrow", "safetensors", "torchjd")


def choose_device(name: DeviceName) -> torch.device:
    """Return the device called `name`; `auto` takes CUDA, then Apple's MPS, then the CPU.

    Raises:
        DeviceUnavailable: the named device is not there.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = "cuda" if available["cuda"] else "mps" if available["mps"] else "cpu"
    if not available[name]:
        raise DeviceUnavailable(f"There is no {name} device on this machine.", "Use --device auto or --device cpu.")
    if name == "cuda":
        # cuDNN's attention makes a plan for every new shape, and groups of clips have ever other shapes: in bfloat16,
        # where torch prefers it on Hopper, an epoch took forty times as long as in float32.
        torch.backends.cuda.enable_cudnn_sdp(False)
    if name == "cpu":
        # oneDNN keeps a kernel for every shape of the last thousand, and hardly two batches have as many tokens: in
        # bfloat16 that grew by a gigabyte in forty steps. Encoders of frames have some 200 shapes: layers/tiles.py.
        os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "256")
    return torch.device(name)


def choose_precision(precision: Precision, device: torch.device) -> Literal["float32", "bf16"]:
    """Settle `auto`: bfloat16 where the hardware computes it natively, float32 elsewhere.

    Natively means compute capability 8.0 and above on CUDA, AVX-512-bf16 or AMX on a CPU. Elsewhere bfloat16 is
    emulated: a hundred times slower than float32 on a CPU without it.
    """
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "float32"
    if device.type == "cpu" and (_cpu_has("_is_avx512_bf16_supported") or _cpu_has("_is_amx_tile_supported")):
        return "bf16"
    return "float32"


def _cpu_has(question: str) -> bool:
    # torch answers these under private names, and older releases lack some of them.
    ask = getattr(torch.cpu, question, None)
    return bool(ask and ask())


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the context in which a forward pass runs; float32 leaves everything as it is."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def check_seed(seed: int) -> None:
    """See that a seed is one that every generator takes, and every reader of JSON holds exactly.

    Raises:
        ValueError: it is none, in words.
    """
    if not 0 <= seed <= LARGEST_SEED:
        raise ValueError(f"{shown(seed)} is no seed, a whole number from 0 to {LARGEST_SEED:,}")


def seed_everything(seed: int) -> None:
    """Seed torch on every device; the order of rows has generators of its own, made from the same seed."""
    torch.manual_seed(seed)


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """Return the state of the generators that dropout draws from."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    if device.type == "mps":
        state["mps"] = torch.mps.get_rng_state()
    return state


def restore_random_state(state: dict[str, torch.Tensor], device: torch.device) -> None:
    """Put the generators back to where `random_state` found them."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)
    if "mps" in state and device.type == "mps":
        torch.mps.set_rng_state(state["mps"])


def environment(device: torch.device, precision: str) -> dict[str, Any]:
    """Return what a reader needs to judge whether two runs can agree bit for bit."""
    return {
        "dmmsa": __version__,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _RECORDED},
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "device": _device_name(device),
        "precision": precision,
        "threads": torch.get_num_threads(),
        "git_revision": _git_revision(),
        "command": shlex.join(["dmmsa", *(under_way() or sys.argv[1:])]),
        "directory": str(Path.cwd()),
    }


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return f"cuda: {torch.cuda.get_device_name(device)}"
    return f"{device.type}: {_processor()} ({os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()})"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_revision() -> str | None:
    """The revision of this source tree, marked where it was changed; none for an installed package."""
    here = Path(__file__).resolve().parent
    if not (here.parent / ".git").exists():
        return None
    git = ["git", "-C", str(here.parent)]
    try:
        revision = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
        changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return revision.strip() + ("+changes" if changed.stdout.strip() else "")
