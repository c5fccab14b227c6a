"""Timings of the torch side, kept in a file: measured once, then read instead of compiling for minutes again.

    {"format": "pawl torch record 1", "machines": [{device, torch, triton, cuda, …}],
     "rows": {"kernelbench/level1/001_square_matmul published": {
         "task": …, "workload": …, "dims": …,
         "modes": {"max-autotune": {"us": 2683.1, "low": 2680.2, "high": 2690.4, "samples_us": […], "error": {…}, "compile_s": …,
                                    "busy_us": …, "machine": 0, "date": "2026-11-20T12:00:00"}}}}}

Files of an earlier form, {"name B1 S512": {mode: us}} and {"1/37:fp32": {"mode_us": us}}, are read too; they have no samples.
A record says what torch does on a machine like this one only if some rows of it, the anchors, come out the same here.
"""
import json
import os
import random
import re
import tempfile

FORMAT = "pawl torch record 1"
TOLERANCE = 0.03               # how far an anchor may be off


def row_name(task, workload):
    return f"{task} {workload}" if workload else task


def baseline_name(program):
    """"rmsnorm_residual B1 S512", as in the files of the earlier form."""
    return " ".join([program.task.split("/")[-1]] + [f"{k}{program.dims[k]}" for k in ("B", "S") if k in program.dims])


def kernelbench_name(task):
    """"2/37:fp32" for kernelbench/level2/037_matmul_…, else None."""
    m = re.search(r"level(\d)/0*(\d+)", task)
    return f"{m[1]}/{m[2]}:fp32" if m else None


def median(samples):
    s = sorted(samples)
    n = len(s)
    return (s[n // 2] + s[(n - 1) // 2]) / 2 if n else float("nan")


def _resampled(samples, resamples, generator):
    return [median(generator.choices(samples, k=len(samples))) for _ in range(resamples)]


def _interval(values):
    s = sorted(values)
    return s[int(0.025 * (len(s) - 1))], s[int(0.975 * (len(s) - 1) + 0.5)]


def interval(samples, resamples=1000):
    """Bootstrap 95 % interval of the median."""
    return _interval(_resampled(samples, resamples, random.Random(0)))


def unpaired_ratio(theirs, ours, resamples=1000):
    """theirs/ours where the two were not measured together: ratio of medians and its bootstrap 95 % interval."""
    generator = random.Random(0)
    a, b = _resampled(theirs, resamples, generator), _resampled(ours, resamples, generator)
    low, high = _interval([x / y for x, y in zip(a, b)])
    return median(theirs) / median(ours), low, high


class Record:
    """A file of timings; `write` replaces it whole, so that it is never half there."""

    def __init__(self, path, must_exist=False):
        self.path, self.rows, self.machines, self.plain = path, {}, [], {}
        if not must_exist and not os.path.exists(path):
            return
        with open(path, encoding="utf-8") as f:
            data = json.load(f)
        if data.get("format") == FORMAT:
            self.rows, self.machines = data["rows"], data["machines"]
        elif all(isinstance(v, dict) for v in data.values()):
            self.plain = data
        else:
            raise ValueError(f"{path} is no record of torch timings (format {data.get('format')!r})")

    def modes(self, program):
        """{mode: entry with "us"} known for a program under its workload."""
        row = self.rows.get(row_name(program.task, program.workload))
        if row:
            return {m: e for m, e in row["modes"].items() if e.get("us")}
        found = self.plain.get(baseline_name(program)) or self.plain.get(kernelbench_name(program.task) or "") or {}
        strip = {k.removesuffix("_us"): v for k, v in found.items() if k.endswith("_us") and "floor" not in k and k != "best_us"}
        return {m: {"us": us} for m, us in (strip or found).items()}

    def missing(self, program, modes):
        """Those of the modes that have no timing and have not failed either."""
        row = self.rows.get(row_name(program.task, program.workload), {"modes": {}})
        return [m for m in modes if not (row["modes"].get(m, {}).get("us") or row["modes"].get(m, {}).get("failed"))]

    def add(self, program, modes, machine, date):
        if machine not in self.machines:
            self.machines.append(machine)
        row = self.rows.setdefault(row_name(program.task, program.workload), {
            "task": program.task, "workload": program.workload, "dims": program.dims, "seed": program.seed, "modes": {}})
        for mode, entry in modes.items():
            entry = dict(entry, machine=self.machines.index(machine), date=date)
            if entry.get("samples_us"):
                entry["low"], entry["high"] = interval(entry["samples_us"])
            row["modes"][mode] = entry

    def write(self):
        text = json.dumps({"format": FORMAT, "machines": self.machines, "rows": self.rows}, indent=1, default=str)
        text = re.sub(r"\[\s+([-\d.eE,\s]+?)\s+\]", lambda m: "[" + re.sub(r"\s+", " ", m[1]) + "]", text)    # samples on a line
        with tempfile.NamedTemporaryFile("w", dir=os.path.dirname(os.path.abspath(self.path)), delete=False, suffix=".tmp") as f:
            f.write(text)
        os.replace(f.name, self.path)


def best_of(modes):
    """The fastest compiled mode of {mode: entry}, or None."""
    compiled = {m: e["us"] for m, e in modes.items() if m != "eager" and e.get("us")}
    return min(compiled, key=compiled.get) if compiled else None


def pick_anchors(names, n):
    """n of the names, spread evenly."""
    n = max(0, min(n, len(names)))
    return {names[(2 * i + 1) * len(names) // (2 * n)] for i in range(n)}


def deviations(known, measured):
    """{mode: measured/known - 1} and the same for the best modes of both."""
    out = {m: measured[m]["us"] / e["us"] - 1 for m, e in known.items() if measured.get(m, {}).get("us")}
    best, best_known = best_of(measured), best_of(known)
    if best and best_known:
        out["best"] = measured[best]["us"] / known[best_known]["us"] - 1
    return out


class Anchors:
    """How the rows that were timed again compare with the record."""

    def __init__(self):
        self.off = {}                                    # row name -> deviation of the best mode

    def add(self, name, deviation):
        if "best" in deviation:
            self.off[name] = deviation["best"]

    def worst(self):
        return max(self.off.values(), key=abs, default=None)

    def agree(self):
        return bool(self.off) and abs(self.worst()) <= TOLERANCE

    def verdict(self):
        """What a row that was compared with the record says about it."""
        if not self.off:
            return "torch recorded, no anchors"
        return f"torch recorded, anchors {'within' if self.agree() else 'OFF BY'} {abs(self.worst()):.1%}"
