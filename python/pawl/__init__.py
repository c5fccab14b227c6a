"""Pawl from Python: run compiled packages, and compare them with PyTorch.

    import pawl
    with pawl.open("mlp.pawl") as package, package.session("cuda") as session:
        y, = session(x)                         # torch tensors, on torch's current stream, no copies

`python -m pawl.compare TASK…` sets the same task side by side with torch.compile; `python -m pawl.render TASK` prints the
PyTorch module that it is compared with. Nothing here imports torch before it is needed.
"""
from .capi import Error, Package, Session, fill, library, open  # noqa: A004 (open is the name people expect)

__all__ = ["Error", "Package", "Session", "fill", "library", "open"]
