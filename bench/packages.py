"""What the benches share: tasks written, tuned and compiled into packages, sides timed, rows kept."""
import concurrent.futures
import json
import math
import os
import re
import subprocess
import sys
import time

from pawl import capi
from pawl.records import median

try:
    import torch
except ImportError:             # --dry-run does without
    torch = None

FP32 = "{matmul: fp32, conv: tf32, else: fp32}"


def say(*words):
    print(*words, file=sys.stderr, flush=True)

# ---- tasks -----------------------------------------------------------------------------------------------------------
def task(name, dims, inputs, graph, params=None, numerics=FP32):
    """YAML. inputs, params: {name: "f32[M, K] ~ normal(0, 1)"}."""
    lines = [f"task: bench/{name}", f"dims: {{{', '.join(f'{k}: {v}' for k, v in dims.items())}}}"]
    for heading, rows in (("inputs", inputs), ("params", params)):
        lines += [f"{heading}:"] * bool(rows) + [f'  {k}: "{v}"' for k, v in (rows or {}).items()]
    return "\n".join(lines + ["graph: |", f"  %y = {graph}", "outputs: [y]", f"numerics: {numerics}", "workloads: {w: {}}", ""])


class Compiled:
    """A task under some options: its package, and what tuning said."""

    def __init__(self, name, text, options=()):
        self.name, self.text, self.options = name, text, tuple(options)
        self.key = re.sub(r"\W+", "_", f"{name}_{'_'.join(options)}")
        self.tuned, self.tune_s, self.failed, self.package = [], None, None, None
        self.steps = []                                         # of the tuner's log: how long each problem took, and on what

    def open(self, device):
        self.package = capi.Package(self.path)
        self.session = self.package.session(device)

    def __call__(self, *inputs):
        return self.session(*inputs)[0]

    def side(self, name, *inputs):
        from pawl.timing import Side
        inputs = list(inputs)
        enqueue = self.session.prepare(inputs, self.session.empty_outputs(inputs))
        stream = torch.cuda.current_stream().cuda_stream if inputs[0].is_cuda else None
        return Side(name, [lambda: enqueue(stream)], keep=False)

    def schedule(self, kind):
        return next((r["schedule"] for r in self.tuned if (r["schedule"] or "").startswith(kind + " ")), "")

    def slow_steps(self, limit=1.5):
        """Lines of the tuner's log of problems that took longer than `limit` seconds."""
        return [s for s in self.steps if sum(float(x) for x in re.findall(r"(?:compiled|measured) in ([\d.]+) s", s)) > limit]

    def close(self):
        if self.package:
            self.session.close()
            self.package.close()
            os.remove(self.path)
            self.package = None


SAID = re.compile(r"(\S+) on .*: (\d+) tuned, (\d+) known, (\d+) left; ([\d.]+) s")


class Maker:
    """Tunes and compiles tasks: one process an option set for tuning, several at once for compiling."""

    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.device = "cpu" if options.rehearse else "cuda"

    def pawl(self, *words):
        return subprocess.run([capi.program(), *words], capture_output=True, text=True)

    def common(self, c, db):
        keep = [o for o in c.options]
        if self.options.rehearse and "--pick" in keep:
            del keep[keep.index("--pick"):keep.index("--pick") + 2]
        if "--candidates" in keep:                              # of tuning only
            del keep[keep.index("--candidates"):keep.index("--candidates") + 2]
        return ["--device", self.device, "--db", os.path.join(self.folder, db), *keep]

    def tune(self, some, db):
        words = self.common(some[0], db) + list(some[0].options[some[0].options.index("--candidates"):]
                                                if "--candidates" in some[0].options else ())
        log = os.path.join(self.folder, "tune.log")
        done = self.pawl("tune", *[c.task for c in some], *words, "--budget", str(self.options.budget), "--format=json", "--log", log)
        if done.returncode:
            say(f"pawl tune: exit {done.returncode}\n{done.stderr.strip()[-1500:]}")
        by_name = {f"bench/{c.name}": c for c in some}
        for m in SAID.finditer(done.stderr):
            if m[1] in by_name:
                by_name[m[1]].tune_s = float(m[5])
        for line in open(log, encoding="utf-8") if os.path.exists(log) else []:
            words = line.split(" ", 4)
            if words[1] in by_name and "compiled in" in line:
                by_name[words[1]].steps.append(words[3] + " " + words[4].strip())
        for row in json.loads(done.stdout) if done.stdout.strip() else []:
            if row["task"] in by_name:
                by_name[row["task"]].tuned.append(row)

    def compile(self, c, db):
        c.path = os.path.join(self.folder, f"{c.key}.pawl")
        done = self.pawl("compile", c.task, *self.common(c, db), "--no-generic", "-o", c.path, "--quiet")
        if done.returncode:
            c.failed = f"pawl compile {c.name}: exit {done.returncode}\n{done.stderr.strip()[-1500:]}"

    def make(self, all_of_them, db="gemm.sqlite"):
        for c in all_of_them:
            c.task = os.path.join(self.folder, f"{c.key}.yaml")
            with open(c.task, "w", encoding="utf-8") as f:
                f.write(c.text)
        if self.options.dry_run:
            return self.explain(all_of_them)
        sets = {}
        for c in all_of_them:
            sets.setdefault(c.options, []).append(c)
        start = time.perf_counter()
        for some in sets.values() if not self.options.rehearse else ():
            self.tune(some, db)
        middle = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda c: self.compile(c, db), all_of_them))
        for c in all_of_them:
            if c.failed:
                say(c.failed)
            else:
                c.open(self.device)
        say(f"  {len(all_of_them)} tasks: tuned in {middle - start:.1f} s, compiled in {time.perf_counter() - middle:.1f} s")
        return True

    def explain(self, all_of_them):
        for c in all_of_them:
            self.device = "sm_90a"
            done = self.pawl("explain", c.task, *self.common(c, "none.sqlite"), "--format=json")
            if done.returncode:
                print(f"{c.name}: exit {done.returncode}: {done.stderr.strip()[-500:]}")
                continue
            for g in json.loads(done.stdout)[0]["groups"]:
                print(f"{c.name:<44} {g['schedule']:<70} {g['predicted_us'] or math.nan:10.1f} us")
        return False


# ---- measuring -------------------------------------------------------------------------------------------------------
class Bench:
    """Sides timed next to each other, rows kept in a file, failures counted."""

    def __init__(self, options):
        self.options, self.device = options, "cpu" if options.rehearse else "cuda"
        self.rows, self.bad, self.began = [], 0, time.perf_counter()
        self.run = {"run": time.strftime("%Y-%m-%dT%H:%M:%S"), "device": "cpu"}
        if options.dry_run:
            return
        from pawl.timing import HostTimer, Timer
        self.timer = HostTimer() if options.rehearse else Timer()
        if not options.rehearse:
            self.run["device"] = torch.cuda.get_device_name()

    def small(self, *extents):
        """Extents of a rehearsal."""
        return tuple(max(3, e // 64) for e in extents) if self.options.rehearse else extents

    def time(self, sides):
        """Medians in microseconds by name; each side's samples stay with it."""
        self.timer.warm_up(sides)
        self.timer.interleave(sides, self.options.pairs)
        return {s.name: median(s.samples) for s in sides}

    def kernels(self, side):
        """{kernel: median microseconds a call} by CUPTI; what a kernel overlaps with those before it, waiting for them, is theirs."""
        names = {}
        for call in self.timer.spans(side):
            done, own = 0.0, {}
            for start, end, name in call:
                own[name] = own.get(name, 0.0) + max(0.0, end - max(start, done))
                done = max(done, end)
            for name, us in own.items():
                names.setdefault(name, []).append(us)
        return {n: median(us) for n, us in names.items()}

    def keep(self, section, **row):
        self.rows.append({"section": section, **row})
        if self.options.json:
            old = []
            if os.path.exists(self.options.json):
                with open(self.options.json, encoding="utf-8") as f:
                    old = [r for r in json.load(f)["rows"] if r.get("run") != self.run["run"]]
            with open(self.options.json + ".new", "w", encoding="utf-8") as f:
                json.dump({"rows": old + [{**self.run, **r} for r in self.rows]}, f, indent=1)
            os.replace(self.options.json + ".new", self.options.json)

    def wants(self, name):
        if self.options.max_seconds and time.perf_counter() - self.began > self.options.max_seconds:
            say(f"  {name}: not begun, out of time")
            return False
        return not self.options.only or self.options.only in name

    def failed(self, what, error):
        self.bad += 1
        text = re.sub(r"\s*\n\s*", " | ", str(error).strip())
        print(f"{what:<28} FAILED: {text[:300]}", flush=True)

    def release(self):
        if self.device == "cuda":
            torch.cuda.empty_cache()
