#!/usr/bin/env python3
"""Host-side costs of a compiled package on a GPU: opening it, its first result, and one call with new pointers.

    PYTHONPATH=python bench/latency.py PACKAGE.pawl WORKLOAD…

PyTorch lends device memory; its context exists before the clock starts, so driver and context start are not counted.
WORKLOAD: dims of every symbol, as B=1,S=512."""
import re
import sys
import time

import torch

from pawl import capi


def tensors(package, dims):
    made = []
    for _name, dtype, text in package.inputs:
        shape = [eval(d, {}, dims) for d in re.search(r"\[(.*)\]", text).group(1).split(",") if d.strip()]
        made.append(torch.randn(shape, device="cuda").to(getattr(torch, capi.TORCH_NAMES[dtype])))
    return made


def main():
    path, workloads = sys.argv[1], sys.argv[2:]
    torch.zeros(1, device="cuda")
    torch.cuda.synchronize()
    print(f"{'workload':<14} {'open ms':>8} {'first result ms':>16} {'host us a call, pointers patched':>33}")
    for text in workloads:
        dims = {k: int(v) for k, v in (pair.split("=") for pair in text.split(","))}
        start = time.perf_counter()
        package = capi.open(path)
        opened = time.perf_counter()
        inputs = tensors(package, dims)
        torch.cuda.synchronize()
        prepared = time.perf_counter()
        session = package.session("cuda")
        session(*inputs)
        torch.cuda.synchronize()
        first = time.perf_counter() - prepared + opened - start
        sets = [tensors(package, dims) for _ in range(4)]
        stream = torch.cuda.current_stream().cuda_stream
        calls = [session.prepare(s, session.empty_outputs(s)) for s in sets]
        for call in calls:
            call(stream)
        samples = []
        for i in range(400):
            torch.cuda.synchronize()
            before = time.perf_counter()
            calls[i % 4](stream)
            samples.append(time.perf_counter() - before)
        print(f"{text:<14} {(opened - start) * 1e3:8.2f} {first * 1e3:16.2f} {sorted(samples)[200] * 1e6:33.2f}")
        session.close()
        package.close()


main()
