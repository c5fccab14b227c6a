"""Side by side with PyTorch: each task rendered as a module, compiled by torch.compile's modes and by Pawl, timed together.

    python -m pawl.compare tasks/qwen3/*.yaml --cache torch.cache --json results.json
    python -m pawl.compare tasks/kernelbench --record torch.json --cache torch.cache --max-seconds 560
    python -m pawl.compare tasks/kernelbench --baseline torch.json --anchors 3 --cache torch.cache --json results.json

Both sides run in one process, on one stream, on the same weights and inputs (Pawl's, drawn by its generator), ABBA interleaved
with cold L2; timing.py says how. Every output is checked against the module in float64 on all elements. The torch side is what a
user would write, before any of our passes; where weights are frozen, max-autotune also runs with freezing, and its best mode
counts. A row that fails is reported and does not stop the others. Without a GPU, --cpu checks results, and rehearses the rest.

max-autotune takes half a minute for every new shape of a product. --record times the torch side alone and keeps it; run again, it
goes on with what is missing. --baseline with --anchors then times torch only for so many rows and compares the others with the
record, which counts where the anchors agree with it within 3 %.

Exit code: 0, or 1 where a result was wrong or a row failed, 2 for bad usage, 4 without torch or a device.
"""
import argparse
import contextlib
import gc
import glob
import os
import sys
import tempfile
import time

from . import records, render
from .report import COLUMNS, cells, closing, line, write_json
from .row import Ours, Row, Tensors, run_pawl
from .torch_side import Cache, brief, machine, modes_of, say


def arguments(argv):
    a = argparse.ArgumentParser(prog="python -m pawl.compare", description=__doc__.split("\n\n")[0],
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("tasks", nargs="+", metavar="TASK", help="tasks' YAML files, or folders of them")
    a.add_argument("--modes", help="eager and torch.compile modes, comma separated "
                   "(default: eager,max-autotune-no-cudagraphs,max-autotune; with --cpu eager)")
    a.add_argument("--workloads", help="only these workloads, comma separated (default: all that a task declares)")
    a.add_argument("--json", metavar="FILE", help="write everything measured, rewritten after every row")
    a.add_argument("--budget", type=float, metavar="SECONDS", help="tuning time a task for Pawl (default: the tuner's)")
    a.add_argument("--no-tune", action="store_true", help="compare the untuned compile (still uses what the database knows)")
    a.add_argument("--db", help="Pawl's tuning database")
    a.add_argument("--cache", metavar="FILE", help="load and save torch.compile's caches, so that a repeat costs seconds; "
                   "a folder is used in place")
    a.add_argument("--record", metavar="FILE", help="time the torch side alone, what FILE does not have; written after every row")
    a.add_argument("--baseline", metavar="FILE", help="recorded torch timings to check against")
    a.add_argument("--anchors", type=int, metavar="N", help="time torch for N tasks, take the others from the baseline")
    a.add_argument("--pairs", type=int, default=40,
                   help="interleaved rounds a row (default: %(default)s; at least 30 for a claim)")
    a.add_argument("--max-seconds", type=float, metavar="SECONDS",
                   help="start no row or mode that may not end by then, taking as long to compile as the longest so far")
    a.add_argument("--no-freezing", action="store_true", help="leave out the modes with freezing")
    a.add_argument("--no-profile", action="store_true", help="leave out GPU-busy times")
    a.add_argument("--packages", metavar="DIR", help="keep the compiled packages there; one that is there is not compiled again")
    a.add_argument("--cpu", action="store_true", help="rehearse without a GPU: results count, times do not")
    a.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    o = a.parse_args(argv)
    if o.anchors is not None and not o.baseline:
        a.error("--anchors needs --baseline")
    if o.record and (o.baseline or o.json):
        a.error("--record measures torch alone: it takes neither --baseline nor --json")
    o.modes = o.modes or ("eager" if o.cpu else "eager,max-autotune-no-cudagraphs,max-autotune")
    return o


# ---- all rows ---------------------------------------------------------------------------------------------------------
class Clock:
    """Says when it is too late to start something."""

    def __init__(self, seconds):
        self.end = time.monotonic() + seconds if seconds else None
        self.longest = 0.0

    def took(self, seconds):
        self.longest = max(self.longest, seconds)

    def late(self):
        return self.end is not None and time.monotonic() + self.longest > self.end


def task_files(tasks):
    out = []
    for t in tasks:
        found = sorted(glob.glob(os.path.join(t, "**", "*.yaml"), recursive=True)) if os.path.isdir(t) else [t]
        out += [f for f in found if f not in out]
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


def run_row(row, options):
    import torch
    try:
        row.run()
    except Exception as e:
        row.note("row", e)
    result = row.result
    row.__dict__.clear()                        # tensors, before the caches are emptied
    if hasattr(torch, "_dynamo"):
        torch._dynamo.reset()
    gc.collect()
    if not options.cpu:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
    return result


def compare_task(task, options, shared, rows, meta, cache, anchor):
    try:
        programs = [render.load(task, name) for name in workloads_of(task, options)]
    except Exception as e:
        rows.append(failed(task, None, e))
        return
    say(f"{task}: compiling with pawl …")
    try:
        ours = Ours(task, options, shared["folder"])
    except Exception as e:
        say(f"{task}: {brief(e)}")
        ours = e
    for program in programs:
        if shared["clock"].late():
            say(f"{task} {program.workload}: not started, out of time")
            continue
        say(f"{task} {program.workload}{' (anchor)' if anchor else ''}")
        recorded = shared["baseline"] and options.anchors is not None and shared["baseline"].modes(program)
        modes = [] if recorded and not anchor else modes_of(options, program)
        rows.append(run_row(Row(program, ours, modes, options, shared), options))
        print(line(cells(rows[-1])), flush=True)
        write_json(options.json, meta, rows)
    cache.save()
    if not isinstance(ours, Exception):
        ours.close()


def compare(options, shared, meta, cache):
    tasks, rows = task_files(options.tasks), []
    anchors = records.pick_anchors(tasks, options.anchors or 0)
    print(line([c for c, _ in COLUMNS]), flush=True)
    for task in sorted(tasks, key=lambda t: t not in anchors):                # anchors first: they speak for the others
        compare_task(task, options, shared, rows, meta, cache, task in anchors)
    meta.update(finished=time.strftime("%Y-%m-%dT%H:%M:%S"), anchors=shared["anchors"].off)
    write_json(options.json, meta, rows)
    print(closing(rows), flush=True)
    return 0 if rows and all(r["ok"] for r in rows) else 1


def record_task(task, options, shared, record, meta):
    """What the record does not have of a task; the number of rows still incomplete."""
    incomplete = 0
    for name in workloads_of(task, options):
        program = render.load(task, name)
        modes = record.missing(program, modes_of(options, program))
        if not modes:
            say(f"{task} {name}: recorded")
            continue
        if shared["clock"].late():
            incomplete += 1
            continue
        start = time.monotonic()
        result = run_row(Row(program, None, modes, options, shared), options)
        done = {m: e for m, e in result["modes"].items() if e.get("us") or e.get("failed")}
        record.add(program, done, meta, time.strftime("%Y-%m-%dT%H:%M:%S"))
        record.write()
        incomplete += bool(record.missing(program, modes))
        figures = ", ".join(f"{m} {e['us']:.1f} us" if e.get("us") else f"{m} FAILED" for m, e in done.items())
        print(f"{program.task} {name or ''}: {figures or 'nothing'} ({time.monotonic() - start:.0f} s)", flush=True)
    return incomplete


def record_all(options, shared, meta, cache):
    record, incomplete, broken = records.Record(options.record), 0, 0
    tasks = task_files(options.tasks)
    for i, task in enumerate(tasks):
        say(f"[{i + 1}/{len(tasks)}] {task}")
        try:
            incomplete += record_task(task, options, shared, record, meta)
        except Exception as e:
            failed(task, None, e)
            broken += 1
        cache.save()
    bad = [f"{name} {m}" for name, r in record.rows.items() for m, e in r["modes"].items() if e.get("failed")]
    print(f"{options.record}: {len(record.rows)} rows, {incomplete} of these tasks' incomplete"
          + (f", failed: {', '.join(bad)}" if bad else ""), flush=True)
    return 1 if incomplete or broken or bad else 0


def main(argv=None):
    options = arguments(argv)
    try:
        import torch
    except ImportError as e:
        say(f"pawl.compare needs PyTorch: {e}")
        return 4
    if not options.cpu and not torch.cuda.is_available():
        say("pawl.compare: PyTorch sees no GPU; --cpu rehearses without one")
        return 4
    from .timing import HostTimer, Timer, ceilings
    shared = {"baseline": records.Record(options.baseline, must_exist=True) if options.baseline else None,
              "anchors": records.Anchors(), "tensors": Tensors(), "clock": Clock(options.max_seconds)}
    if options.cpu:
        shared.update(timer=HostTimer(), ceilings={"copy": 1e10, "float32": 1e10})
    else:
        torch.cuda.init()
        shared.update(timer=Timer(), ceilings=ceilings(dtypes=(torch.bfloat16, torch.float32)))
        say("ceilings: " + ", ".join(f"{k} {v / 1e12:.2f} T{'B' if k == 'copy' else 'FLOP'}/s"
                                     for k, v in shared["ceilings"].items()))
    meta, cache = machine(options.cpu), Cache(options.cache)
    if options.record:
        code = record_all(options, shared, meta, cache)
        cache.save(last=True)
        return code
    with contextlib.suppress(Exception):
        meta["pawl"] = run_pawl(["version"])[1].strip()
    meta.update(pairs=options.pairs, ceilings=shared["ceilings"])
    with contextlib.ExitStack() as stack:
        shared["folder"] = options.packages or stack.enter_context(tempfile.TemporaryDirectory(prefix="pawl-compare."))
        os.makedirs(shared["folder"], exist_ok=True)
        code = compare(options, shared, meta, cache)
    cache.save(last=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
