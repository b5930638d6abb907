"""Write a copy of the lock without torch and the CUDA packages that it brings on Linux.

Usage: cpu_lock.py requirements.lock OUTPUT. Prints the requirements that were left out and are
still needed, torch and torchvision, with their versions, for `uv pip install --torch-backend cpu`.
"""

import re
import sys
from pathlib import Path

FROM_PYTORCH = ("torch", "torchvision")
CUDA = re.compile(r"(nvidia-.*|cuda-.*|triton)$")


def blocks(text):
    """The lock's requirements, each with its hashes and comments: (name, version, text)."""
    starts = list(re.finditer(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ ;\\]+)", text, re.MULTILINE))
    ends = [match.start() for match in starts[1:]] + [len(text)]
    return [(m[1], m[2], text[m.start() : end]) for m, end in zip(starts, ends, strict=True)]


def split_lock(text):
    """The lock without torch and CUDA, and the requirements for PyTorch's own builds."""
    kept, torch = [], []
    for name, version, block in blocks(text):
        if name in FROM_PYTORCH:
            torch.append(f"{name}=={version}")
        elif not CUDA.match(name):
            kept.append(block)
    return "".join(kept), torch


if __name__ == "__main__":
    lock, output = map(Path, sys.argv[1:])
    kept, torch = split_lock(lock.read_text(encoding="utf-8"))
    output.write_text(kept, encoding="utf-8")
    print(*torch)
