"""One row of a comparison: a task under a workload, its torch modes and its package, checked and timed."""
import gc
import os
import subprocess
import time
import traceback

from . import capi, records, render
from .torch_side import Theirs, brief, modes_of, say

SHORT_US = 20.0               # under this, events are too coarse for single calls: batches
BATCH = 16
KEPT_TENSORS = 2 << 30        # bytes of weights kept from task to task: many tasks have the same


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
        level = os.path.basename(os.path.dirname(task))
        self.path = os.path.join(folder, f"{level + '_' if level.startswith('level') else ''}{name}.{device}.pawl")
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
        self.scratch = not options.packages

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
        """Ends the session; a package that nobody asked to keep may have gigabytes."""
        self.session.close()
        self.package.close()
        if self.scratch:
            os.remove(self.path)


# ---- tensors ----------------------------------------------------------------------------------------------------------
class Tensors:
    """Weights on the device, the small ones kept for the next task."""

    def __init__(self):
        self.kept, self.bytes = {}, 0

    def weights(self, program, device):
        return {d.name: self.get(d, program.seed, device) for d in program.params}

    def get(self, d, seed, device):
        key = (d.name, d.dtype, d.shape, d.dist, d.file, seed)
        if key not in self.kept:
            t = render.tensor(d, seed, device)
            if d.bytes() > KEPT_TENSORS / 4:
                return t
            if self.bytes + d.bytes() > KEPT_TENSORS:
                self.kept, self.bytes = {}, 0
            self.kept[key] = t
            self.bytes += d.bytes()
        return self.kept[key]


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


class Row:
    """One task under one workload: the modes given and, unless `ours` is None, Pawl."""

    def __init__(self, program, ours, modes, options, shared):
        self.program, self.ours, self.modes, self.options, self.shared = program, ours, modes, options, shared
        self.device = "cpu" if options.cpu else "cuda"
        self.result = {"task": program.task, "workload": program.workload, "dims": program.dims, "seed": program.seed,
                       "modes": {}, "ours": None, "errors": [], "ok": False}

    def note(self, what, error):
        self.result["errors"].append(f"{what}: {brief(error)}")
        say(f"  {self.program.task} {self.program.workload}: {what}: {brief(error)}")
        if os.environ.get("PAWL_COMPARE_TRACEBACK"):
            traceback.print_exception(error)

    def run(self):
        import torch
        with torch.no_grad():
            weights = self.shared["tensors"].weights(self.program, self.device)
            example = render.inputs(self.program, self.device)
            module = render.module(self.program, weights).to(self.device)
            self.reference(module, weights, example)
            sides = self.torch_sides(weights, example)
            runs = self.our_side(example) if self.ours is not None else False
            self.truth = None
            self.release()
            if runs or sides:
                self.time(runs, sides, module, example)
        self.finish()

    def release(self):
        import torch
        gc.collect()
        if self.device == "cuda":
            torch.cuda.empty_cache()

    def reference(self, module, weights, example):
        """The oracle's outputs, and what eager's, the baseline of the acceptance rule, allow."""
        import torch

        from .errors import Truth
        oracle = render.module(self.program, weights, oracle=True).to(self.device)
        wide = [x.to(torch.float64) if x.is_floating_point() else x for x in example]
        y64, baseline = oracle(*wide), module(*example)
        moves = any(b.dtype in (torch.float32, torch.float64) for b in (baseline if isinstance(baseline, tuple) else (baseline,)))
        self.truth = Truth(y64, baseline, oracle if moves else None, wide)
        self.result["constant"] = self.truth.constant
        del oracle, wide, y64, baseline
        self.release()

    def torch_sides(self, weights, example):
        """[Theirs] of the modes that compile and run."""
        sides = []
        for mode in self.modes:
            if self.shared["clock"].late():
                self.result["errors"].append(f"{mode}: not started, out of time")
                continue
            entry = self.result["modes"].setdefault(mode, {})
            try:
                side = Theirs(render.module(self.program, weights).to(self.device), mode, example)
                entry.update(compile_s=side.compile_s, cached=side.cached, error=self.truth.judge(side.first))
                side.first = None
                sides.append(side)
                self.shared["clock"].took(side.compile_s)
                if mode != "eager":
                    say(f"  {mode}: compiled in {side.compile_s:.1f} s{' (cached)' if side.cached else ''}")
            except Exception as e:
                self.note(mode, e)
                entry["failed"] = brief(e)
        return sides

    def our_side(self, example):
        """Whether Pawl ran the example; its outputs are checked."""
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
            self.our_first = tuple(outputs[i] for i in self.ours.output_order(self.program))
            self.result["ours"] = {"compile_s": self.ours.compile_s, "tune_s": self.ours.tune_s,
                                   "error": self.truth.judge(self.our_first)}
            return True
        except Exception as e:
            self.note("pawl", e)
            return False

    # -- timing --
    def buffers(self, example):
        """Copies of the inputs for a batch, within a tenth of the free memory; one where no call can be short."""
        import torch
        size = sum(x.numel() * x.element_size() for x in example) + 1
        if self.device == "cpu" or self.program.bytes() > 8 * self.shared["timer"].l2_bytes:
            return [example]
        free, _ = torch.cuda.mem_get_info()
        n = max(1, min(BATCH, int(free * 0.1 / size)))
        return [example] + [[x.clone() for x in example] for _ in range(n - 1)]

    def our_timed(self, copies):
        import torch

        from .timing import Side
        stream = torch.cuda.current_stream().cuda_stream if self.device == "cuda" else None
        order = self.ours.order(self.program)
        inputs = [[c[i] for i in order] for c in copies]
        self.our_outputs = [self.ours.session.empty_outputs(c) for c in inputs]
        enqueue = [self.ours.session.prepare(i, o) for i, o in zip(inputs, self.our_outputs)]
        return Side("pawl", [lambda e=e: e(stream) for e in enqueue], keep=False)

    def time(self, runs, sides, module, example):
        import torch

        from .timing import Side
        timer, copies = self.shared["timer"], self.buffers(example)
        ours = self.our_timed(copies) if runs else None
        theirs = []
        for s in sides:
            before = torch.compiler.cudagraph_mark_step_begin if s.graphs and self.device == "cuda" else None
            theirs.append(Side(s.mode, [s.bare(c) for c in copies], before, keep=not s.graphs))
        everyone = ([ours] if ours else []) + theirs
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
        self.keep(ours, theirs)
        if ours:
            self.fingerprint()

    def keep(self, ours, theirs):
        from .timing import median, ratio_interval
        for side in ([ours] if ours else []) + theirs:
            entry = self.result["ours"] if side is ours else self.result["modes"][side.name]
            entry.update(us=median(side.samples), samples_us=[round(s, 3) for s in side.samples], busy_us=side.busy_us,
                         kernels=side.kernels, host_us=side.host_s * 1e6)
            if ours and side is not ours:
                ratio, low, high = ratio_interval(side.samples, ours.samples)
                entry.update(ratio=ratio, ratio_low=low, ratio_high=high)

    def fingerprint(self):
        """After the timed calls a tenth of the buffers, at least one, must hold what the first call gave, bit for bit."""
        import torch
        if self.device == "cuda":
            torch.cuda.synchronize()
        where = self.ours.output_order(self.program)
        called = min(len(self.our_outputs), self.result["pairs"] * self.result["batch"])
        for copy in self.our_outputs[:called:10]:
            for k, expected in zip(where, self.our_first):
                got = copy[k]
                same = torch.equal(got, expected) or torch.equal(torch.nan_to_num(got), torch.nan_to_num(expected))
                if not same:
                    self.result["ours"]["unstable"] = True
                    self.result["errors"].append("pawl: outputs of timed calls differ from the first call's")
                    return

    def finish(self):
        r, baseline = self.result, self.shared["baseline"]
        known = baseline.modes(self.program) if baseline else {}
        if known and self.modes:
            r["baseline"] = {"us": {m: e["us"] for m, e in known.items()}, "deviation": records.deviations(known, r["modes"])}
            self.shared["anchors"].add(records.row_name(self.program.task, self.program.workload), r["baseline"]["deviation"])
        elif known:
            self.take(known)
        r["best"] = records.best_of(r["modes"])
        ours = r["ours"]
        r["ok"] = bool(ours) and not ours["error"]["outside"] and not ours.get("unstable")
        # faster than the device multiplies as the task is written: algebra took the product away
        fastest = max((v for k, v in self.shared["ceilings"].items() if k != "copy"), default=0)
        r["collapsed"] = bool(ours and ours.get("us") and ours["us"] * 1e-6 * fastest < (r.get("floor") or {}).get("flops", 0))

    def take(self, known):
        """The torch side from the record."""
        r, anchors = self.result, self.shared["anchors"]
        samples = (r["ours"] or {}).get("samples_us")
        for mode, e in known.items():
            entry = r["modes"][mode] = dict(e)
            if samples:
                entry["ratio"], entry["ratio_low"], entry["ratio_high"] = \
                    records.unpaired_ratio(e.get("samples_us") or [e["us"]], samples)
        missing = [m for m in self.shared["baseline"].missing(self.program, modes_of(self.options, self.program)) if m not in known]
        r["recorded"] = {"verdict": anchors.verdict() + (f", no record of {', '.join(missing)}" if missing else ""),
                         "agrees": anchors.agree(), "anchors": dict(anchors.off), "missing": missing}
