"""Side by side with PyTorch: each task rendered as a module, compiled by torch.compile's modes and by Pawl, timed together.

    python -m pawl.compare tasks/qwen3/*.yaml --cache torch.cache --json results.json

Both sides run in one process, on one stream, on the same weights and inputs (Pawl's, drawn by its generator), ABBA interleaved
with cold L2; timing.py says how. Every output is checked against the module in float64 on all elements. The torch side is what a
user would write, before any of our passes; where weights are frozen, max-autotune also runs with freezing, and its best mode
counts. A row that fails is reported and does not stop the others. Without a GPU, --cpu checks results only.

Exit code: 0, or 1 where a result was wrong or a row failed, 2 for bad usage, 4 without torch or a device.
"""
import argparse
import contextlib
import gc
import glob
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import traceback
import zipfile

from . import capi, render

FREEZING = "+freezing"
SHORT_US = 20.0               # under this, events are too coarse for single calls: batches
BATCH = 16


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def brief(error):
    """The first lines of what an exception says."""
    text = "".join(traceback.format_exception_only(type(error), error)).strip()
    return text[:600]


def arguments(argv):
    a = argparse.ArgumentParser(prog="python -m pawl.compare", description=__doc__.split("\n\n")[0],
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("tasks", nargs="+", metavar="TASK", help="tasks' YAML files, or folders of them")
    a.add_argument("--modes", default="eager,max-autotune,max-autotune-no-cudagraphs",
                   help="eager and torch.compile modes, comma separated (default: %(default)s)")
    a.add_argument("--workloads", help="only these workloads, comma separated (default: all that a task declares)")
    a.add_argument("--json", metavar="FILE", help="write everything measured, rewritten after every row")
    a.add_argument("--budget", type=float, metavar="SECONDS", help="tuning time a task for Pawl (default: the tuner's)")
    a.add_argument("--no-tune", action="store_true", help="compare the untuned compile (still uses what the database knows)")
    a.add_argument("--db", help="Pawl's tuning database")
    a.add_argument("--cache", metavar="FILE", help="load and save torch.compile's artifacts, so that a repeat costs seconds")
    a.add_argument("--baseline", metavar="FILE", help="earlier torch timings to check against: {\"name B1 S512\": {mode: us}}")
    a.add_argument("--pairs", type=int, default=40, help="interleaved rounds a row (default: %(default)s; at least 30 for a claim)")
    a.add_argument("--max-seconds", type=float, help="start no further row or mode after this")
    a.add_argument("--no-freezing", action="store_true", help="leave out the modes with freezing")
    a.add_argument("--no-profile", action="store_true", help="leave out GPU-busy times")
    a.add_argument("--packages", metavar="DIR", help="keep the compiled packages there; one that is there is not compiled again")
    a.add_argument("--cpu", action="store_true", help="smoke test without a GPU: results only")
    a.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    return a.parse_args(argv)


# ---- the Pawl side ----------------------------------------------------------------------------------------------------
def run_pawl(words):
    """Runs the command line; (seconds, stdout). Raises with its message."""
    start = time.perf_counter()
    done = subprocess.run([capi.program(), *words], capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"pawl {' '.join(words)}: exit {done.returncode}\n{done.stderr.strip()[-2000:]}")
    return seconds, done.stdout


class Ours:
    """A task's package and how long it took to make."""

    def __init__(self, task, options, folder):
        name = os.path.splitext(os.path.basename(task))[0]
        device = "cpu" if options.cpu else "cuda"
        self.path = os.path.join(folder, f"{name}.{device}.pawl")
        self.tune_s = self.compile_s = None
        common = ["--device", device] + (["--db", options.db] if options.db else [])
        if options.packages and os.path.exists(self.path):
            say(f"{name}: using {self.path}")
        else:
            if not options.no_tune and not options.cpu:
                budget = ["--budget", str(options.budget)] if options.budget else []
                self.tune_s, _ = run_pawl(["tune", task, *common, *budget, "--quiet"])
            self.compile_s, _ = run_pawl(["compile", task, *common, "-o", self.path, "--quiet"])
        self.package = capi.Package(self.path)
        self.session = self.package.session(device)

    def order(self, program):
        """The program's inputs in the package's order, as indices."""
        at = {d.name: i for i, d in enumerate(program.inputs)}
        unknown = [n for n, _, _ in self.package.inputs if n not in at]
        if unknown:
            raise RuntimeError(f"the package takes {unknown}, which the task does not declare")
        return [at[n] for n, _, _ in self.package.inputs]

    def output_order(self, program):
        at = {n: i for i, (n, _, _) in enumerate(self.package.outputs)}
        missing = [n for n in program.outputs if n not in at]
        if missing:
            raise RuntimeError(f"the package does not return {missing}")
        return [at[n] for n in program.outputs]

    def close(self):
        self.session.close()
        self.package.close()


# ---- the torch side ---------------------------------------------------------------------------------------------------
class Cache:
    """torch.compile's artifacts in one file: a zip with a member a process that compiled something new."""

    def __init__(self, path):
        self.path, self.old = path, {}
        if not path or not os.path.exists(path):
            return
        import torch
        try:
            with zipfile.ZipFile(path) as z:
                self.old = {name: z.read(name) for name in z.namelist()}
            for data in self.old.values():
                torch.compiler.load_cache_artifacts(data)
            say(f"loaded {len(self.old)} sets of torch.compile artifacts from {path}")
        except Exception as e:
            say(f"warning: {path} was not loaded: {brief(e)}")

    def save(self):
        """Rewrites the file: what was loaded, and all of this process. Nothing where everything was found in caches."""
        if not self.path or not cache_misses():
            return
        import torch
        try:
            artifacts = torch.compiler.save_cache_artifacts()
            if not artifacts:
                return
            data = artifacts[0]
            members = {**self.old, hashlib.sha256(data).hexdigest()[:24]: data}
            with zipfile.ZipFile(self.path + ".tmp", "w", zipfile.ZIP_DEFLATED) as z:
                for name, content in members.items():
                    z.writestr(name, content)
            os.replace(self.path + ".tmp", self.path)
            say(f"saved torch.compile artifacts to {self.path} ({len(data) / 1e6:.1f} MB)")
        except Exception as e:
            say(f"warning: torch.compile artifacts were not saved: {brief(e)}")


@contextlib.contextmanager
def freezing(on):
    """Inductor's freezing while compiling and calling."""
    if not on:
        yield
        return
    import torch._inductor.config as config
    with config.patch(freezing=True):
        yield


def cache_misses():
    """How often Inductor compiled something that was in no cache or could not be, so far in this process."""
    try:
        from torch._dynamo.utils import counters
        return counters["inductor"]["fxgraph_cache_miss"] + counters["inductor"]["fxgraph_cache_bypass"]
    except Exception:
        return 0


class Theirs:
    """The module under one mode: compiled on its first call, which is timed. Each mode needs a module of its own code: dynamo
    keeps what it compiled by code object, and freezing is no part of its key."""

    def __init__(self, module, mode, example):
        import torch
        self.mode = mode
        base, self.frozen = (mode[:-len(FREEZING)], True) if mode.endswith(FREEZING) else (mode, False)
        self.graphs = base in ("max-autotune", "reduce-overhead")
        missed, start = cache_misses(), time.perf_counter()
        self.function = module if base == "eager" else \
            torch.compile(module, mode=None if base == "default" else base, fullgraph=True, dynamic=False)
        self.first = self.clone(self(example))
        for _ in range(2):                       # cudagraph trees: warm-up, record, replay
            self(example)
        if example and example[0].is_cuda:
            torch.cuda.synchronize()
        self.compile_s = time.perf_counter() - start
        self.cached = base != "eager" and cache_misses() == missed

    def __call__(self, inputs):
        import torch
        if self.graphs:
            torch.compiler.cudagraph_mark_step_begin()
        with freezing(self.frozen):
            return self.function(*inputs)

    def bare(self, inputs):
        """A call for timing: nothing around it."""
        function = self.function
        return lambda: function(*inputs)

    @staticmethod
    def clone(outputs):
        return tuple(o.clone() for o in (outputs if isinstance(outputs, (tuple, list)) else (outputs,)))


def modes_of(options, program):
    """The modes to run: freezing doubles the max-autotune ones where weights are frozen."""
    if options.cpu:
        return ["eager"]
    out = []
    for mode in filter(None, (m.strip() for m in options.modes.split(","))):
        out.append(mode)
        frozen = bool(program.params) and not any(d.mutable for d in program.params)
        if mode.startswith("max-autotune") and frozen and not options.no_freezing:
            out.append(mode + FREEZING)
    return out


# ---- one row ----------------------------------------------------------------------------------------------------------
def floor_us(program, module, example, ceilings):
    """Microseconds that bytes or matrix arithmetic take at measured ceilings, whichever is more."""
    from torch.utils.flop_counter import FlopCounterMode
    with FlopCounterMode(display=False) as counter:
        module(*example)
    flops = counter.get_total_flops()
    dtype = capi.TORCH_NAMES[program.inputs[0].dtype] if program.inputs else "bfloat16"
    rate = ceilings.get(dtype) or max((v for k, v in ceilings.items() if k != "copy"), default=None)
    bytes_us = program.bytes() / ceilings["copy"] * 1e6
    flops_us = flops / rate * 1e6 if rate else 0.0
    return {"us": max(bytes_us, flops_us), "bytes": program.bytes(), "flops": flops, "bytes_us": bytes_us, "flops_us": flops_us}


def baseline_name(program):
    """"rmsnorm_residual B1 S512", as in the files of --baseline."""
    return " ".join([program.task.split("/")[-1]] + [f"{k}{program.dims[k]}" for k in ("B", "S") if k in program.dims])


class Row:
    """One task under one workload."""

    def __init__(self, program, ours, options, shared):
        self.program, self.ours, self.options, self.shared = program, ours, options, shared
        self.device = "cpu" if options.cpu else "cuda"
        self.result = {"task": program.task, "workload": program.workload, "dims": program.dims, "seed": program.seed,
                       "modes": {}, "ours": None, "errors": [], "ok": False}

    def note(self, what, error):
        self.result["errors"].append(f"{what}: {brief(error)}")
        say(f"  {self.program.task} {self.program.workload}: {what}: {brief(error)}")
        if os.environ.get("PAWL_COMPARE_TRACEBACK"):
            traceback.print_exception(error)

    def out_of_time(self):
        return self.shared["deadline"] and time.monotonic() > self.shared["deadline"]

    def run(self):
        import torch
        with torch.no_grad():
            weights = render.weights(self.program, self.device)
            example = render.inputs(self.program, self.device)
            module = render.module(self.program, weights).to(self.device)
            self.reference(module, weights, example)
            sides = self.torch_sides(weights, example)
            ours = self.our_side(example)
            if self.device == "cuda" and ours is not None:
                self.time(sides, module, example)
        self.finish()

    def reference(self, module, weights, example):
        """The oracle's outputs and eager's, which is the baseline of the acceptance rule."""
        import torch
        oracle = render.module(self.program, weights, oracle=True).to(self.device)
        wide = [x.to(torch.float64) if x.is_floating_point() else x for x in example]
        y = oracle(*wide)
        self.y64 = Theirs.clone(y)
        self.baseline = Theirs.clone(module(*example))
        self.moved = None
        if any(b.dtype in (torch.float32, torch.float64) for b in self.baseline):
            from .errors import movement
            self.moved = movement(oracle, wide, self.y64)

    def judge(self, outputs):
        from .errors import compare
        return compare(outputs, self.y64, self.baseline, self.moved)

    def torch_sides(self, weights, example):
        """[Theirs] of the modes that compile and run."""
        sides = []
        for mode in modes_of(self.options, self.program):
            if self.out_of_time():
                self.result["errors"].append(f"{mode}: not started, out of time")
                continue
            entry = self.result["modes"].setdefault(mode, {})
            try:
                side = Theirs(render.module(self.program, weights).to(self.device), mode, example)
                entry.update(compile_s=side.compile_s, cached=side.cached, error=self.judge(side.first))
                sides.append(side)
                if mode != "eager":
                    say(f"  {mode}: compiled in {side.compile_s:.1f} s{' (cached)' if side.cached else ''}")
            except Exception as e:
                self.note(mode, e)
                entry["failed"] = brief(e)
        return sides

    def our_side(self, example):
        """Our outputs for the example, checked; None where Pawl fails."""
        import torch
        try:
            if isinstance(self.ours, Exception):
                raise self.ours
            given = [example[i] for i in self.ours.order(self.program)]
            outputs = self.ours.session.empty_outputs(given)
            for o in outputs:
                o.fill_(float("nan") if o.is_floating_point() else 1)           # poison: what is not written shows
            self.ours.session(*given, out=outputs)
            if self.device == "cuda":
                torch.cuda.synchronize()
            self.our_first = tuple(outputs[i].clone() for i in self.ours.output_order(self.program))
            error = self.judge(self.our_first)
            self.result["ours"] = {"compile_s": self.ours.compile_s, "tune_s": self.ours.tune_s, "error": error}
            return given
        except Exception as e:
            self.note("pawl", e)
            return None

    # -- timing --
    def buffers(self, example, calls):
        """`calls` copies of the inputs, within a tenth of the free memory."""
        import torch
        size = sum(x.numel() * x.element_size() for x in example) + 1
        free, _ = torch.cuda.mem_get_info()
        n = max(1, min(calls, int(free * 0.1 / size)))
        return [example] + [[x.clone() for x in example] for _ in range(n - 1)]

    def time(self, sides, module, example):
        import torch
        from .timing import Side
        timer, order = self.shared["timer"], self.ours.order(self.program)
        stream = torch.cuda.current_stream().cuda_stream
        copies = self.buffers(example, BATCH)
        our_inputs = [[c[i] for i in order] for c in copies]
        our_outputs = [self.ours.session.empty_outputs(c) for c in our_inputs]
        enqueue = [self.ours.session.prepare(i, o) for i, o in zip(our_inputs, our_outputs)]
        ours = Side("pawl", [lambda e=e: e(stream) for e in enqueue], keep=False)
        theirs = []
        for s in sides:
            before = torch.compiler.cudagraph_mark_step_begin if s.graphs else None
            theirs.append(Side(s.mode, [s.bare(c) for c in copies], before, keep=not s.graphs))
        everyone = [ours] + theirs
        timer.warm_up(everyone)
        first = {side.name: timer.quick(side) for side in everyone}
        # weights are single copies: a batch would find them in L2, so only where they are small
        weight_bytes = sum(d.bytes() for d in self.program.params)
        short = min(first.values()) < SHORT_US and weight_bytes * 16 < timer.l2_bytes and len(copies) > 1
        batch = len(copies) if short else 1
        timer.interleave(everyone, self.options.pairs, batch)
        for side in everyone if not self.options.no_profile else ():
            try:
                timer.busy(side)
            except Exception as e:
                self.note(f"profile of {side.name}", e)
        self.result.update(batch=batch, pairs=self.options.pairs)
        try:
            self.result["floor"] = floor_us(self.program, module, example, self.shared["ceilings"])
        except Exception as e:
            self.note("floor", e)
        self.record(ours, theirs)
        self.fingerprint(our_outputs)

    def record(self, ours, theirs):
        from .timing import median, ratio_interval
        for side in [ours] + theirs:
            entry = self.result["ours"] if side is ours else self.result["modes"][side.name]
            entry.update(us=median(side.samples), samples_us=[round(s, 3) for s in side.samples], busy_us=side.busy_us,
                         kernels=side.kernels, host_us=side.host_s * 1e6)
            if side is not ours:
                ratio, low, high = ratio_interval(side.samples, ours.samples)
                entry.update(ratio=ratio, ratio_low=low, ratio_high=high)

    def fingerprint(self, our_outputs):
        """After the timed calls a tenth of the buffers, at least one, must hold what the first call gave, bit for bit."""
        import torch
        torch.cuda.synchronize()
        where = self.ours.output_order(self.program)
        called = min(len(our_outputs), self.result["pairs"] * self.result["batch"])
        for copy in our_outputs[:called:10]:
            for k, expected in zip(where, self.our_first):
                got = copy[k]
                same = torch.equal(got, expected) or torch.equal(torch.nan_to_num(got), torch.nan_to_num(expected))
                if not same:
                    self.result["ours"]["unstable"] = True
                    self.result["errors"].append("pawl: outputs of timed calls differ from the first call's")
                    return

    def finish(self):
        r = self.result
        compiled = {m: e for m, e in r["modes"].items() if m != "eager" and e.get("us")}
        if compiled:
            r["best"] = min(compiled, key=lambda m: compiled[m]["us"])
        self.check_baseline()
        ours = r["ours"]
        r["ok"] = bool(ours) and not ours["error"]["outside"] and not ours.get("unstable")

    def check_baseline(self):
        """Deviation of the torch side from earlier timings, where a file was given."""
        known = self.shared["baseline"].get(baseline_name(self.program))
        if not known:
            return
        deviation = {m: self.result["modes"][m]["us"] / us - 1 for m, us in known.items()
                     if self.result["modes"].get(m, {}).get("us")}
        best = [us for m, us in known.items() if m != "eager"]
        if best and self.result.get("best"):
            deviation["best"] = self.result["modes"][self.result["best"]]["us"] / min(best) - 1
        self.result["baseline"] = {"us": known, "deviation": deviation}


# ---- the report -------------------------------------------------------------------------------------------------------
COLUMNS = (("task", 22), ("workload", 13), ("pawl us", 9), ("torch us", 9), ("best mode", 36), ("ratio", 22), ("floor us", 9),
           ("busy us", 15), ("max err", 17), ("made in s", 18), ("", 0))


def number(x, form="{:.1f}"):
    return "-" if x is None else form.format(x)


def cells(r):
    ours, best = r["ours"] or {}, r["modes"].get(r.get("best"), {})
    error, theirs = ours.get("error") or {}, best.get("error") or next(
        (e["error"] for e in r["modes"].values() if e.get("error")), {})
    ratio = f"{best['ratio']:.3f} [{best['ratio_low']:.3f}, {best['ratio_high']:.3f}]" if best.get("ratio") else "-"
    made = f"{number(ours.get('compile_s'))}+{number(ours.get('tune_s'))}/{number(best.get('compile_s'))}"
    verdict = "ok" if r["ok"] else f"{error['outside']} WRONG" if error.get("outside") else "FAILED"
    deviation = (r.get("baseline") or {}).get("deviation", {}).get("best")
    if deviation is not None:
        verdict += f", torch {deviation:+.1%} of baseline"
    return (r["task"].split("/")[-1], r["workload"] or "-", number(ours.get("us"), "{:.2f}"), number(best.get("us"), "{:.2f}"),
            r.get("best") or "-", ratio, number((r.get("floor") or {}).get("us"), "{:.2f}"),
            f"{number(ours.get('busy_us'))}/{number(best.get('busy_us'))}",
            f"{number(error.get('max_abs'), '{:.2g}')}/{number(theirs.get('max_abs'), '{:.2g}')}", made, verdict)


def line(values):
    return "  ".join(str(v).ljust(w) for v, (_, w) in zip(values, COLUMNS)).rstrip()


def summary(rows):
    """Geometric mean of the ratios to the best mode, and the rows that lose."""
    from math import exp, log
    ratios = [r["modes"][r["best"]]["ratio"] for r in rows if r.get("best") and r["modes"][r["best"]].get("ratio")]
    losing = [f"{r['task']} {r['workload']}" for r in rows
              if r.get("best") and r["modes"][r["best"]].get("ratio_high", 1) < 0.98]
    mean = exp(sum(map(log, ratios)) / len(ratios)) if ratios else None
    return {"geometric_mean": mean, "rows": len(rows), "timed": len(ratios), "ok": sum(r["ok"] for r in rows), "losing": losing}


def write_json(path, meta, rows):
    if not path:
        return
    text = json.dumps({**meta, "summary": summary(rows), "rows": rows}, indent=1, default=str)
    folder = os.path.dirname(os.path.abspath(path))
    with tempfile.NamedTemporaryFile("w", dir=folder, delete=False, suffix=".tmp") as f:
        f.write(text)
    os.replace(f.name, path)


def describe_machine(options):
    import torch
    meta = {"torch": torch.__version__, "python": platform.python_version(), "device": "cpu", "pairs": options.pairs}
    with contextlib.suppress(Exception):
        import triton
        meta["triton"] = triton.__version__
    if not options.cpu:
        p = torch.cuda.get_device_properties(0)
        meta.update(device=p.name, sms=p.multi_processor_count, cuda=torch.version.cuda)
    with contextlib.suppress(Exception):
        meta["pawl"] = run_pawl(["version"])[1].strip()
    return meta


def task_files(tasks):
    out = []
    for t in tasks:
        out += sorted(glob.glob(os.path.join(t, "**", "*.yaml"), recursive=True)) if os.path.isdir(t) else [t]
    return out


def workloads_of(task, options):
    """Names of the workloads to run."""
    if options.workloads:
        return [w.strip() for w in options.workloads.split(",") if w.strip()]
    _, text = run_pawl(["inspect", task])
    names = [l.split()[1].rstrip(":") for l in text.splitlines() if l.strip().startswith("workload ")]
    return names or [None]


def failed(task, workload, error):
    """The row of something that did not even start."""
    say(f"{task} {workload or ''}: {brief(error)}")
    return {"task": task, "workload": workload, "modes": {}, "ours": None, "errors": [brief(error)], "ok": False}


def compare_row(task, name, ours, options, shared):
    import torch
    try:
        row = Row(render.load(task, name), ours, options, shared)
    except Exception as e:
        return failed(task, name, e)
    try:
        row.run()
    except Exception as e:
        row.note("row", e)
    result = row.result
    del row
    if hasattr(torch, "_dynamo"):
        torch._dynamo.reset()
    gc.collect()
    if not options.cpu:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
    return result


def compare_task(task, options, shared, rows, meta, cache):
    try:
        names = workloads_of(task, options)
    except Exception as e:
        rows.append(failed(task, None, e))
        return
    say(f"{task}: compiling with pawl …")
    try:
        ours = Ours(task, options, shared["folder"])
    except Exception as e:
        say(f"{task}: {brief(e)}")
        ours = e
    for name in names:
        if shared["deadline"] and time.monotonic() > shared["deadline"]:
            say(f"{task} {name}: not started, out of time")
            continue
        say(f"{task} {name}")
        rows.append(compare_row(task, name, ours, options, shared))
        print(line(cells(rows[-1])), flush=True)
        write_json(options.json, meta, rows)
    cache.save()
    if not isinstance(ours, Exception):
        ours.close()


def main(argv=None):
    options = arguments(argv)
    try:
        import torch
    except ImportError as e:
        say(f"pawl.compare needs PyTorch: {e}")
        return 4
    if not options.cpu and not torch.cuda.is_available():
        say("pawl.compare: PyTorch sees no GPU; --cpu checks results without one")
        return 4
    baseline = {}
    if options.baseline:
        with open(options.baseline, encoding="utf-8") as f:
            baseline = json.load(f)
    shared = {"baseline": baseline, "timer": None, "ceilings": {},
              "deadline": time.monotonic() + options.max_seconds if options.max_seconds else None}
    if not options.cpu:
        from .timing import Timer, ceilings
        torch.cuda.init()
        shared["timer"] = Timer()
        shared["ceilings"] = ceilings(dtypes=(torch.bfloat16, torch.float32))
        say("ceilings: " + ", ".join(f"{k} {v / 1e12:.2f} T{'B' if k == 'copy' else 'FLOP'}/s" for k, v in shared["ceilings"].items()))
    meta = describe_machine(options)
    meta["ceilings"] = shared["ceilings"]
    cache, rows = Cache(options.cache), []
    with contextlib.ExitStack() as stack:
        shared["folder"] = options.packages or stack.enter_context(tempfile.TemporaryDirectory(prefix="pawl-compare."))
        os.makedirs(shared["folder"], exist_ok=True)
        print(line([c for c, _ in COLUMNS]), flush=True)
        for task in task_files(options.tasks):
            compare_task(task, options, shared, rows, meta, cache)
    s = summary(rows)
    meta["finished"] = time.strftime("%Y-%m-%dT%H:%M:%S")
    write_json(options.json, meta, rows)
    if s["geometric_mean"]:
        print(f"geometric mean over {s['timed']} rows: {s['geometric_mean']:.3f}x the best torch mode"
              + (f"; slower: {', '.join(s['losing'])}" if s["losing"] else ""), flush=True)
    return 0 if rows and all(r["ok"] for r in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
