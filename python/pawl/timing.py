"""Honest timing of several implementations of one thing on a CUDA stream.

One process, one stream, cold L2, sides interleaved ABBA, medians with bootstrap intervals. Before every window a spin kernel
holds the GPU until the host has enqueued all of the window, so that events see the GPU alone; then twice the L2 is read, which
leaves it full of clean lines of no use, as the tuner and `pawl bench` do. (Flushed by a write it is full of dirty lines, and the
first to come pays for writing them back: 3 to 4 us on an H200, whoever it is.) A window is one call, or, for calls too short for the events' resolution, a batch of calls that each use buffers of
their own. GPU-busy time (during which a kernel runs, by CUPTI; kernels that overlap count once) is taken apart, with spin kernels
as markers around each call.
"""
import time
from dataclasses import dataclass, field
from typing import Callable, List, Optional

import torch

from .records import median

SPIN_HZ = 2.0e9              # cycles a second that torch.cuda._sleep is asked for: no less than any clock of the device
MAX_SPIN_S = 0.02


@dataclass
class Side:
    """One implementation: `calls[i]()` runs it on the i-th copy of the buffers."""
    name: str
    calls: List[Callable]
    before: Optional[Callable] = None      # host side, ahead of every call
    keep: bool = True                      # hold the results of a batch, so that each call writes memory of its own
    host_s: float = 0.0                    # to enqueue one call
    samples: List[float] = field(default_factory=list)          # microseconds a call, one a window
    busy_us: Optional[float] = None
    kernels: Optional[float] = None        # a call, as CUPTI counts them (copies and fills too)

    def call(self, i):
        if self.before:
            self.before()
        return self.calls[i % len(self.calls)]()


class Timer:
    """Owns the flush buffer and the events of a device."""

    def __init__(self, device="cuda"):
        properties = torch.cuda.get_device_properties(device)
        self.l2_bytes = getattr(properties, "L2_cache_size", 0) or 64 << 20
        self.flush_buffer = torch.zeros(self.l2_bytes // 2, dtype=torch.float32, device=device)     # twice the L2
        self.flush_sum = torch.zeros((), dtype=torch.float32, device=device)
        self.start = torch.cuda.Event(enable_timing=True)
        self.end = torch.cuda.Event(enable_timing=True)

    def flush(self):
        torch.sum(self.flush_buffer, dim=0, out=self.flush_sum)

    def synchronize(self):
        torch.cuda.synchronize()

    def _window(self, side, first, batch):
        """Microseconds a call of one window."""
        spin = min(MAX_SPIN_S, 1.5 * side.host_s * batch + 100e-6)
        results = []
        torch.cuda._sleep(int(spin * SPIN_HZ))
        self.flush()
        self.start.record()
        for k in range(batch):
            result = side.call(first + k)
            if side.keep:
                results.append(result)
        self.end.record()
        self.end.synchronize()
        del results
        return self.start.elapsed_time(self.end) * 1e3 / batch

    def warm_up(self, sides, calls=3):
        """Runs every side a few times and learns how long the host needs to enqueue it."""
        for side in sides:
            for i in range(max(calls, 2)):
                side.call(i)
            self.synchronize()
            best = float("inf")
            for i in range(5):
                t = time.perf_counter()
                side.call(i)
                best = min(best, time.perf_counter() - t)
                self.synchronize()
            side.host_s = best

    def quick(self, side, windows=5):
        """A first idea of microseconds a call: the median of single windows."""
        return sorted(self._window(side, i, 1) for i in range(windows))[windows // 2]

    def interleave(self, sides, rounds, batch=1):
        """Appends `rounds` samples to each side: A B C, C B A, A B C … after one window each that does not count (a batch's first
        run grows the allocator)."""
        for side in sides:
            self._window(side, 0, batch)
        for r in range(rounds):
            for side in (sides if r % 2 == 0 else sides[::-1]):
                side.samples.append(self._window(side, r * batch, batch))

    def spans(self, side, reps=8):
        """What the GPU does in each call, cold L2: lists of (start, end, kernel) in the order of their starts, microseconds; none where CUPTI
        does not answer."""
        from torch.profiler import ProfilerActivity, profile
        side.call(0)
        torch.cuda.synchronize()
        with profile(activities=[ProfilerActivity.CUDA]) as p:
            for i in range(reps):
                self.flush()
                torch.cuda._sleep(int(min(MAX_SPIN_S, 1.5 * side.host_s + 100e-6) * SPIN_HZ))
                side.call(i)
                torch.cuda._sleep(1000)
            torch.cuda.synchronize()
        spans = []
        for e in p.events():
            if "CUDA" not in str(getattr(e, "device_type", "")) or getattr(e, "is_user_annotation", False):
                continue
            if e.name.startswith(("Torch-Compiled Region", "## ")):
                continue
            spans.append((e.time_range.start, e.time_range.end, e.name))
        spans.sort(key=lambda s: s[0])
        calls, inside = [], None
        for start, end, name in spans:
            if "spin_kernel" in name:
                if inside is not None:
                    calls.append(inside)
                inside = [] if inside is None else None
            elif inside is not None:
                inside.append((start, end, name))
        return calls if len(calls) >= reps // 2 else []

    def busy(self, side, reps=8):
        """GPU-busy microseconds a call and kernels a call, cold L2; None where CUPTI does not answer."""
        calls = self.spans(side, reps)
        if not calls:
            return None
        sums = sorted(covered(c) for c in calls)
        side.busy_us = sums[len(sums) // 2]
        side.kernels = sum(len(c) for c in calls) / len(calls)
        return side.busy_us


class HostTimer(Timer):
    """The same on the CPU by the wall clock, caches as they are: rehearses a comparison where there is no GPU."""

    def __init__(self):
        self.l2_bytes = 1 << 20

    def synchronize(self):
        pass

    def _window(self, side, first, batch):
        start = time.perf_counter()
        for k in range(batch):
            side.call(first + k)
        return (time.perf_counter() - start) * 1e6 / batch

    def spans(self, side, reps=8):
        return []


def covered(spans):
    """Time under at least one of the spans (start, end, …), sorted by start."""
    total, until = 0.0, float("-inf")
    for start, end, *_ in spans:
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total


def ratio_interval(theirs, ours, resamples=2000, seed=0):
    """theirs/ours: the ratio of medians, and its bootstrap 95 % interval over rounds (pairs stay together)."""
    a = torch.tensor(theirs, dtype=torch.float64)
    b = torch.tensor(ours, dtype=torch.float64)
    n = min(len(a), len(b))
    a, b = a[:n], b[:n]
    pick = torch.randint(n, (resamples, n), generator=torch.Generator().manual_seed(seed))
    ratios = a[pick].quantile(0.5, dim=1) / b[pick].quantile(0.5, dim=1)
    low, high = ratios.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return median(theirs[:n]) / median(ours[:n]), low, high


def ceilings(device="cuda", dtypes=()):
    """Measured ceilings: copy bandwidth in bytes/s (read and written), and matrix FLOP/s by dtype, on random data."""
    def best(f, reps):
        f()
        torch.cuda.synchronize()
        times = []
        for _ in range(reps):
            s, e = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            s.record()
            f()
            e.record()
            e.synchronize()
            times.append(s.elapsed_time(e) * 1e-3)
        return min(times)

    n = 1 << 30
    a, b = torch.empty(n, dtype=torch.uint8, device=device), torch.empty(n, dtype=torch.uint8, device=device)
    out = {"copy": 2 * n / best(lambda: b.copy_(a), 10)}
    del a, b
    for dtype in dtypes:
        size = 8192 if dtype in (torch.bfloat16, torch.float16) else 4096
        x = torch.randn(size, size, device=device).to(dtype)
        y = torch.randn(size, size, device=device).to(dtype)
        out[str(dtype).removeprefix("torch.")] = 2 * size ** 3 / best(lambda: x @ y, 10)
        del x, y
    torch.cuda.empty_cache()
    return out
