#!/usr/bin/env python3
"""Matrix products of Pawl next to the libraries' on a GPU: time, and error against fp64.

    PYTHONPATH=python python3 bench/gemm.py [fp32] [numerics] [bf16] [epilogue] [grouped] [tuning] [--json FILE]

    fp32      fp32 products on tensor cores next to cuBLAS fp32: the kernel alone, with the splitting of a, of both operands
    numerics  the fp32 class's rule on distributions that catch what a reduced significand hides; Inf and NaN as cuBLAS has them
    bf16      next to cuBLASLt: the best of its 16 heuristics
    epilogue  bf16 with something behind the product: in the product's kernel, behind the library, and torch.compile
    grouped   bf16, rows in groups against a matrix each (experts): next to torch._grouped_mm
    tuning    three fresh tunings of one product: how long they take and how far they are apart

Tasks are written into a folder, tuned and compiled by the command line, and timed in this process on one stream with cold L2 and
interleaved sides (python/pawl/timing.py); kernels' own times are CUPTI's. --dry-run shows what would be compiled; --rehearse
runs everything at small extents on the CPU, where times mean nothing. Exit code: 0, or 1 where an error was outside its rule or a row
failed."""
import argparse
import functools
import math
import os
import re
import sys
import tempfile
import time

from distributions import distributions, judge
from packages import FP32, Bench, Compiled, Maker, say, task, torch
from pawl import capi

GEMM = ("--no-kind", "library", "--no-kind", "matmul")
LIBRARY = ("--no-kind", "gemm", "--no-kind", "matmul", "--candidates", "32")
SPLIT = ("--pick", "split_matmul=1", "--no-kind", "library")


def draw(shape, kind, seed, device, dtype=None):
    g = torch.Generator(device=device).manual_seed(seed)
    x = torch.rand(shape, generator=g, device=device) if kind == "uniform" else torch.randn(shape, generator=g, device=device)
    return x.to(dtype) if dtype else x


def drawn_by_pawl(name, shape, dist, device):
    return capi.fill(torch.empty(shape), 0, name, dist).to(device)


def frobenius(y, y64):
    """Relative; by rows of batches, so that no more fp64 than needed lies about."""
    d = y.double() - y64
    return (d.norm() / y64.norm()).item()


def tflops(flops, us):
    return flops / us * 1e-6 if us and us == us else math.nan


def mm(a, b):
    return torch.matmul(a, b)


# ---- fp32: tensor cores next to cuBLAS ----------------------------------------------------------------------------------
FP32_SHAPES = [(1, 4096, 4096, 4096), (1, 1024, 8192, 8192), (1, 2048, 2048, 32768), (1, 8205, 2949, 5921), (128, 512, 1024, 2048)]


def shape_name(batch, m, n, k):
    return f"{f'{batch}x' if batch > 1 else ''}{m}x{n}x{k}"


def fp32_tasks(bench, batch, m, n, k):
    name = shape_name(batch, m, n, k)
    dims = dict(zip("MNK", bench.small(m, n, k)), **({"B": 2 if bench.options.rehearse else batch} if batch > 1 else {}))
    lead = "B, " if batch > 1 else ""
    a, b = f"f32[{lead}M, K]", f"f32[{lead}K, N]"
    out = {"inputs": Compiled(f"fp32_{name}_inputs", task(f"fp32_{name}_inputs", dims, {"a": a, "b": b}, "matmul(%a, %b)"), SPLIT)}
    if batch == 1:
        out["packed"] = Compiled(f"fp32_{name}_packed",
                                 task(f"fp32_{name}_packed", dims, {"a": a}, "matmul(%a, %b)", {"b": f"{b} ~ normal(0, 1)"}), SPLIT)
    return dims, out


def fp32_errors(y, a, b):
    y64 = torch.matmul(a.double(), b.double())
    scale = torch.matmul(a.double().abs(), b.double().abs())
    worst = ((y.double() - y64).abs() / scale.clamp_min(1e-300)).max().item()
    return frobenius(y, y64), worst


def fp32(bench, maker):
    shapes = [s for s in FP32_SHAPES if bench.wants("fp32 " + shape_name(*s))]
    made = {s: fp32_tasks(bench, *s) for s in shapes}
    if not maker.make([c for _, some in made.values() for c in some.values()]):
        return
    print("\nfp32 class; b packed ahead of time where it says so; effective TFLOP/s = 2MNK / time; errors: |y - y64| / |y64| (Frobenius) "
          "and max |y - y64| / (|a||b|)")
    print(f"{'shape':<18} {'cuBLAS us':>10} {'TF/s':>5} | {'gemm us':>9} {'TF/s':>5} | {'+ split a':>9} {'TF/s':>5} {'x cuBLAS':>8} | "
          f"{'both in':>9} {'TF/s':>5} {'x':>5} | {'uniform: ours':>13} {'cuBLAS':>8} | {'normal: ours':>12} {'cuBLAS':>8} | "
          f"{'worst: ours':>11} {'cuBLAS':>8} | tuned s")
    for s in shapes:
        dims, some = made[s]
        try:
            fp32_row(bench, s, dims, some)
        except Exception as e:
            bench.failed(shape_name(*s), e)
        for c in some.values():
            c.close()
        bench.release()


def fp32_row(bench, s, dims, some):
    from pawl.timing import Side, ratio_interval
    for c in some.values():
        if c.failed:
            raise RuntimeError(c.failed)
    lead = (dims["B"],) if "B" in dims else ()
    shape_a, shape_b = (*lead, dims["M"], dims["K"]), (*lead, dims["K"], dims["N"])
    flops = 2.0 * math.prod(lead) * dims["M"] * dims["N"] * dims["K"]
    row = {"shape": shape_name(*s), "schedule": some["inputs"].schedule("gemm")}
    for kind in ("uniform", "normal"):
        a, b = draw(shape_a, kind, 1, bench.device), draw(shape_b, kind, 2, bench.device)
        row[f"error_{kind}"], row[f"worst_{kind}"] = fp32_errors(some["inputs"](a, b), a, b)
        row[f"cublas_error_{kind}"], row[f"cublas_worst_{kind}"] = fp32_errors(mm(a, b), a, b)
        if not row[f"error_{kind}"] <= max(2 * row[f"cublas_error_{kind}"], 1e-6):
            bench.bad += 1
    sides = [Side("cuBLAS", [functools.partial(mm, a, b)]), some["inputs"].side("inputs", a, b)]
    if "packed" in some:
        b = drawn_by_pawl("b", shape_b, "normal(0, 1)", bench.device)
        row["error_packed"], row["worst_packed"] = fp32_errors(some["packed"](a), a, b)
        if not row["error_packed"] <= max(2 * row["cublas_error_normal"], 1e-6):
            bench.bad += 1
        sides.append(some["packed"].side("packed", a))
    row["us"] = bench.time(sides)
    row["kernels"] = {x.name: bench.kernels(x) for x in sides}
    row["ratio"] = {x.name: ratio_interval(sides[0].samples, x.samples) for x in sides[1:]}
    row["tune_s"] = {k: c.tune_s for k, c in some.items()}
    row["tune_steps"] = {k: c.steps for k, c in some.items()}
    main = "packed" if "packed" in some else "inputs"
    row["gemm_us"] = sum(us for n, us in row["kernels"][main].items() if n.startswith("gemm_")) or None
    row["flops"] = flops
    bench.keep("fp32", **row)
    us, gemm = row["us"], row["gemm_us"] or math.nan
    packed = us.get("packed", math.nan)
    print(f"{row['shape']:<18} {us['cuBLAS']:10.1f} {tflops(flops, us['cuBLAS']):5.1f} | {gemm:9.1f} {tflops(flops, gemm):5.1f} | "
          f"{packed:9.1f} {tflops(flops, packed):5.1f} {row['ratio'].get('packed', [math.nan])[0]:7.2f}x | {us['inputs']:9.1f} "
          f"{tflops(flops, us['inputs']):5.1f} {row['ratio']['inputs'][0]:4.2f}x | {row['error_uniform']:13.2e} "
          f"{row['cublas_error_uniform']:8.1e} | {row['error_normal']:12.2e} {row['cublas_error_normal']:8.1e} | "
          f"{row['worst_normal']:11.1e} {row['cublas_worst_normal']:8.1e} | "
          f"{', '.join(f'{t:.1f}' for t in row['tune_s'].values() if t is not None)}", flush=True)
    for x in sides[1:]:
        rest = {n: us for n, us in row["kernels"][x.name].items() if not n.startswith("gemm_")}
        if rest:
            print(f"{'':<18}   {x.name}: beside the product " + ", ".join(f"{n} {us:.1f} us" for n, us in rest.items()))
    if row["schedule"]:
        print(f"{'':<18}   {row['schedule']}", flush=True)
    for name, c in some.items():
        for step in c.slow_steps():
            print(f"{'':<18}   tuning {name}: {step}")


# ---- numerics: the rule on every distribution ------------------------------------------------------------------------------
def numerics(bench, maker):
    m, n, k = bench.small(2048, 2048, 4096)
    dims = {"M": m, "N": n, "K": k}
    product = Compiled("numerics", task("numerics", dims, {"a": "f32[M, K]", "b": "f32[K, N]"}, "matmul(%a, %b)"), SPLIT)
    if not bench.wants("numerics") or not maker.make([product]):
        return
    print(f"\nnumerics at {m}x{n}x{k}, fp32 class: |y - y64| as a share of what is allowed, 2 max(R, 2^-22 |a||b|) + 1 ulp; "
          "at most 1 passes")
    print(f"{'distribution':<28} {'worst':>8} {'RMS':>8} {'cuBLAS':>8} {'RMS':>8} {'places':>8}")
    if product.failed:
        return bench.failed("numerics", product.failed)
    for name, (of_a, of_b) in distributions().items():
        if not bench.wants("numerics " + name):
            continue
        try:
            worst = [0.0, 0.0, 0.0, 0.0, 0]
            for seed in range(bench.options.seeds):
                g = torch.Generator(device=bench.device).manual_seed(1000 + seed)
                a = of_a(torch.randn(m, k, generator=g, device=bench.device), g).contiguous()
                b = of_b(torch.randn(k, n, generator=g, device=bench.device), g).contiguous()
                worst = [max(x, y) if y == y else y for x, y in zip(worst, judge(product(a, b), mm(a, b), a, b))]
            good = worst[0] <= 1 and worst[1] <= 1 and worst[4] == 0
            bench.bad += not good
            bench.keep("numerics", distribution=name, worst=worst[0], rms=worst[1], cublas_worst=worst[2], cublas_rms=worst[3],
                       mismatched=worst[4], ok=good)
            print(f"{name:<28} " + " ".join(f"{w:8.3f}" for w in worst[:4]) + f" {worst[4]:8d}  {'ok' if good else 'OUTSIDE'}", flush=True)
        except Exception as e:
            bench.failed(name, e)
    product.close()
    bench.release()


# ---- bf16: next to cuBLASLt ----------------------------------------------------------------------------------------------
BF16_SHAPES = [("linear", 4096, 4096, 4096), ("matmul", 4096, 4096, 4096), ("linear", 8192, 8192, 8192), ("linear", 2048, 12288, 2048),
               ("linear", 2048, 2048, 6144), ("linear", 8192, 4096, 1024)]
EPILOGUES = {                   # name: (graph, further inputs, torch)
    "bias_gelu_tanh": ("gelu_tanh(linear(%x, %w, %b))", {"b": "bf16[N]"},
                       lambda F, x, w, b: F.gelu(F.linear(x, w, b), approximate="tanh")),
    "bias_gelu": ("gelu(linear(%x, %w, %b))", {"b": "bf16[N]"}, lambda F, x, w, b: F.gelu(F.linear(x, w, b))),
    "residual": ("add(linear(%x, %w), %r)", {"r": "bf16[M, N]"}, lambda F, x, w, r: F.linear(x, w) + r),
    "row_sum": ("sum(linear(%x, %w), axes=[1])", {}, lambda F, x, w: F.linear(x, w).sum(1)),
    "row_max": ("amax(linear(%x, %w), axes=[1])", {}, lambda F, x, w: F.linear(x, w).amax(1)),
}
EPILOGUE_SHAPES = [(2048, 6144, 2048), (8192, 4096, 1024)]


def both_ways(name, dims, inputs, graph):
    return {way: Compiled(f"{name}_{way}", task(f"{name}_{way}", dims, inputs, graph, numerics="bf16"), options)
            for way, options in (("gemm", GEMM), ("library", LIBRARY))}


def bf16(bench, maker):
    made = {}
    for form, m, n, k in BF16_SHAPES:
        name = f"bf16_{form}_{m}x{n}x{k}"
        if bench.wants(name):
            dims = dict(zip("MNK", bench.small(m, n, k)))
            w = "bf16[N, K]" if form == "linear" else "bf16[K, N]"
            made[form, m, n, k] = dims, both_ways(name, dims, {"x": "bf16[M, K]", "w": w}, f"{form}(%x, %w)")
    if not maker.make([c for _, ways in made.values() for c in ways.values()]):
        return
    print("\nbf16, alone; library: the fastest of cuBLASLt's 16 heuristics; kernel: CUPTI's time of the product's kernel")
    print(f"{'product':<26} {'torch us':>9} {'library':>9} {'gemm us':>9} {'TF/s':>6} {'library/gemm':>20} {'kernels: library':>17} "
          f"{'gemm':>9} "
          f"{'ratio':>6} {'error':>8} {'torch':>8}  tuned s")
    for (form, m, n, k), (dims, ways) in made.items():
        from torch.nn.functional import linear
        try:
            run_bf16(bench, "bf16", f"{form} {m}x{n}x{k}", dims, ways, linear if form == "linear" else mm, {})
        except Exception as e:
            bench.failed(f"{form} {m}x{n}x{k}", e)
        for c in ways.values():
            c.close()
        bench.release()


def epilogue(bench, maker):
    made = {}
    for m, n, k in EPILOGUE_SHAPES:
        for name, (graph, more, _) in EPILOGUES.items():
            full = f"epilogue_{name}_{m}x{n}x{k}"
            if bench.wants(full):
                dims = dict(zip("MNK", bench.small(m, n, k)))
                made[m, n, k, name] = dims, both_ways(full, dims, {"x": "bf16[M, K]", "w": "bf16[N, K]", **more}, graph)
    if not maker.make([c for _, ways in made.values() for c in ways.values()]):
        return
    print("\nbf16 with an epilogue; torch: torch.compile (an extern product and one fused kernel); library: cuBLASLt, and a kernel "
          "behind it")
    print(f"{'product':<30} {'torch us':>9} {'library':>9} {'gemm us':>9} {'TF/s':>6} {'library/gemm':>20} {'torch/gemm':>20} "
          f"{'error':>8} {'torch':>8}  tuned s")
    from torch.nn import functional
    for (m, n, k, name), (dims, ways) in made.items():
        torch._dynamo.reset()
        f = functools.partial(EPILOGUES[name][2], functional)
        try:
            theirs = f if bench.options.rehearse else torch.compile(f, dynamic=False)
            run_bf16(bench, "epilogue", f"{name} {m}x{n}x{k}", dims, ways, theirs, EPILOGUES[name][1], f)
        except Exception as e:
            bench.failed(f"{name} {m}x{n}x{k}", e)
        for c in ways.values():
            c.close()
        bench.release()


def run_bf16(bench, section, name, dims, ways, theirs, more, plain=None):
    from pawl.timing import Side, ratio_interval
    for c in ways.values():
        if c.failed:
            raise RuntimeError(c.failed)
    shapes = {"x": "MK", "w": "KN" if name.startswith("matmul") else "NK",
              **{k: re.search(r"\[(.*)\]", v)[1].replace(", ", "") for k, v in more.items()}}
    given = [draw([dims[d] for d in s], "normal", i, bench.device, torch.bfloat16) for i, s in enumerate(shapes.values())]
    with torch.no_grad():
        y64 = (plain or theirs)(*[x.double() for x in given])
        row = {"name": name, "error": {w: frobenius(c(*given), y64) for w, c in ways.items()}}
        row["error"]["torch"] = frobenius(theirs(*given), y64)
        del y64
        sides = [Side("torch", [functools.partial(theirs, *given)])] + [c.side(w, *given) for w, c in ways.items()]
        us = row["us"] = bench.time(sides)
        row["kernels"] = {s.name: bench.kernels(s) for s in sides}
    row["ratio"] = {s.name: ratio_interval(s.samples, sides[1].samples) for s in sides if s.name != "gemm"}
    row["tune_s"] = {w: c.tune_s for w, c in ways.items()}
    row["tune_steps"] = {w: c.steps for w, c in ways.items()}
    row["tuned"] = {w: [(r["schedule"], r["us"], r["tried"]) for r in c.tuned] for w, c in ways.items()}
    row["flops"] = flops = 2.0 * dims["M"] * dims["N"] * dims["K"]
    wrong = any(not row["error"][w] <= 1.5 * row["error"]["torch"] + 1e-3 for w in ways)
    bench.bad += wrong
    bench.keep(section, **row)
    tuned = ", ".join(f"{t:.1f}" for t in row["tune_s"].values() if t is not None)
    share = lambda r: f"{r[0]:6.3f} [{r[1]:.3f}, {r[2]:.3f}]"                   # noqa: E731
    head = " ".join(f"{us[k]:9.1f}" for k in ("torch", "library", "gemm"))
    head += f" {tflops(flops, us['gemm']):6.1f} {share(row['ratio']['library']):>20}"
    errors = f"{row['error']['gemm']:8.1e} {row['error']['torch']:8.1e}{'  WRONG' if wrong else ''}  {tuned}"
    if section == "epilogue":
        print(f"{name:<30} {head} {share(row['ratio']['torch']):>20} {errors}")
    else:
        library, gemm = (sum(row["kernels"][w].values()) or math.nan for w in ("library", "gemm"))
        print(f"{name:<26} {head} {library:17.1f} {gemm:9.1f} {library / gemm:6.3f} {errors}")
    for w, c in ways.items():
        best = c.schedule("gemm") or c.schedule("library")
        beside = ", ".join(f"{n[:60]} {t:.1f}" for n, t in row["kernels"][w].items())
        print(f"{'':<26}   {w}: {best}; {beside}" if best or beside else "", end="\n" if best or beside else "", flush=True)
        for step in c.slow_steps():
            print(f"{'':<26}   tuning {w}: {step}")


# ---- grouped: experts ----------------------------------------------------------------------------------------------------
# Qwen3-30B-A3B: 128 experts, 8 a token; gate and up, down; 4096 tokens, 512, 8
GROUPED_SHAPES = [("plain", 32768, 1536, 2048), ("plain", 32768, 2048, 768), ("plain", 4096, 1536, 2048), ("plain", 64, 1536, 2048),
                  ("swiglu", 32768, 1536, 2048), ("swiglu", 64, 1536, 2048)]
GROUPED = "grouped_matmul(%x, %w, %e, trans_b=1)"
GROUPED_GRAPHS = {"plain": GROUPED, "swiglu": f"mul(silu(slice({GROUPED}, axis=1, start=0, size=N // 2)), "
                                              f"slice({GROUPED}, axis=1, start=N // 2, size=N // 2))"}


def by_group(x, w, ends):
    parts, start = [], 0
    for end, matrix in zip(ends.tolist(), w):
        parts.append(x[start:end] @ matrix.T)
        start = end
    return torch.cat(parts)


def swiglu(h):
    gate, up = h.chunk(2, -1)
    return torch.nn.functional.silu(gate) * up


def grouped(bench, maker):
    made = {}
    for name, t, n, k in GROUPED_SHAPES:
        full = f"grouped_{name}_{t}x{n}x{k}"
        if bench.wants(full):
            experts = 4 if bench.options.rehearse else 128
            dims = {**dict(zip("TNK", bench.small(t, n, k))), "E": experts}
            inputs = {"x": "bf16[T, K]", "w": "bf16[E, N, K]", "e": f"i32[E] ~ steps({dims['T'] / experts})"}
            made[name, t, n, k] = dims, Compiled(full, task(full, dims, inputs, GROUPED_GRAPHS[name], numerics="bf16"), GEMM)
    if not maker.make([c for _, c in made.values()]):
        return
    print("\nbf16, rows in groups (128 experts, rows spread at random); torch: torch._grouped_mm; with SwiGLU behind it torch.compile of both")
    print(f"{'product':<26} {'torch us':>9} {'gemm us':>9} {'TF/s':>6} {'torch/gemm':>20} {'kernels: torch':>14} {'gemm':>9} {'ratio':>6} "
          f"{'error':>8} {'torch':>8}  tuned s")
    for (name, t, n, k), (dims, c) in made.items():
        try:
            run_grouped(bench, name, f"{name} {t}x{n}x{k}", dims, c)
        except Exception as e:
            bench.failed(f"{name} {t}x{n}x{k}", e)
        c.close()
        bench.release()


def run_grouped(bench, form, name, dims, c):
    from pawl.timing import Side, ratio_interval
    if c.failed:
        raise RuntimeError(c.failed)
    t, n, k, experts = (dims[d] for d in "TNKE")
    x, w = (draw(s, "normal", i, bench.device, torch.bfloat16) for i, s in enumerate([(t, k), (experts, n, k)]))
    w *= k ** -0.5
    picked = torch.randint(experts, (t,), generator=torch.Generator().manual_seed(3))
    e = torch.bincount(picked, minlength=experts).cumsum(0).int().to(bench.device)
    behind = swiglu if form == "swiglu" else lambda h: h                        # noqa: E731
    multiply = by_group if bench.options.rehearse else lambda x, w, e: torch._grouped_mm(x, w.mT, offs=e)       # noqa: E731
    theirs = lambda x, w, e: behind(multiply(x, w, e))                          # noqa: E731
    if form == "swiglu" and not bench.options.rehearse:
        torch._dynamo.reset()
        theirs = torch.compile(theirs, dynamic=False)
    with torch.no_grad():
        start, y, y_torch, diff = 0, c(x, w, e), theirs(x, w, e), [0.0, 0.0, 0.0]
        for i, end in enumerate(e.tolist()):                                    # in fp64, a group at a time
            y64 = behind(x[start:end].double() @ w[i].double().T)
            for j, z in enumerate((y[start:end].double() - y64, y_torch[start:end].double() - y64, y64)):
                diff[j] += z.square().sum().item()
            start = end
        row = {"name": name, "error": {"gemm": math.sqrt(diff[0] / diff[2]), "torch": math.sqrt(diff[1] / diff[2])}}
        sides = [Side("torch", [functools.partial(theirs, x, w, e)]), c.side("gemm", x, w, e)]
        us = row["us"] = bench.time(sides)
        row["kernels"] = {s.name: bench.kernels(s) for s in sides}
    row["ratio"] = ratio_interval(sides[0].samples, sides[1].samples)
    row["tune_s"], row["tune_steps"], row["tuned"] = c.tune_s, c.steps, [(r["schedule"], r["us"], r["tried"]) for r in c.tuned]
    row["flops"] = flops = 2.0 * t * n * k
    wrong = not row["error"]["gemm"] <= 1.5 * row["error"]["torch"] + 1e-3
    bench.bad += wrong
    bench.keep("grouped", **row)
    own = {s: sum(row["kernels"][s].values()) or math.nan for s in row["kernels"]}
    r = row["ratio"]
    print(f"{name:<26} {us['torch']:9.1f} {us['gemm']:9.1f} {tflops(flops, us['gemm']):6.1f} {f'{r[0]:6.3f} [{r[1]:.3f}, {r[2]:.3f}]':>20} "
          f"{own['torch']:14.1f} {own['gemm']:9.1f} {own['torch'] / own['gemm']:6.3f} {row['error']['gemm']:8.1e} {row['error']['torch']:8.1e}"
          f"{'  WRONG' if wrong else ''}  {c.tune_s}")
    print(f"{'':<26}   gemm: {c.schedule('gemm')}", flush=True)


# ---- tuning: how long, and how far apart ----------------------------------------------------------------------------------
def tuning(bench, maker):
    m, n, k = bench.small(4096, 4096, 4096)
    dims = {"M": m, "N": n, "K": k}
    tasks = {
        "fp32": (task("tuning_fp32", dims, {"a": "f32[M, K]", "b": "f32[K, N]"}, "matmul(%a, %b)"), torch and torch.float32),
        "bf16": (task("tuning_bf16", dims, {"a": "bf16[M, K]", "b": "bf16[N, K]"}, "linear(%a, %b)", numerics="bf16"),
                 torch and torch.bfloat16),
    }
    print(f"\nthree fresh tunings at {m}x{n}x{k}, nothing forced")
    for name, (text, dtype) in tasks.items():
        if not bench.wants("tuning " + name):
            continue
        three = [Compiled(f"tuning_{name}", text) for _ in range(3)]
        for i, c in enumerate(three):
            c.key += f"_{i}"
            if not maker.make([c], f"tuning_{i}.sqlite"):
                break
        if bench.options.dry_run:
            continue
        try:
            if any(c.failed for c in three):
                raise RuntimeError(next(c.failed for c in three if c.failed))
            given = [draw((m, k), "normal", 1, bench.device, dtype),
                     draw((n, k) if name == "bf16" else (k, n), "normal", 2, bench.device, dtype)]
            sides = [c.side(str(i), *given) for i, c in enumerate(three)]
            us = list(bench.time(sides).values())
            apart = max(us) / min(us) - 1
            bench.bad += apart > 0.02 and not bench.options.rehearse
            bench.keep("tuning", name=name, us=us, tune_s=[c.tune_s for c in three],
                       schedules=[[r["schedule"] for r in c.tuned] for c in three])
            print(f"{name}: {', '.join(f'{u:.1f}' for u in us)} us, {apart * 100:.1f} % apart")
            for c in three:
                print(f"  tuned in {c.tune_s} s: {'; '.join(str(r['schedule']) + ' (' + str(r['tried']) + ' tried)' for r in c.tuned)}")
            print("".join(f"    {step}\n" for step in three[0].steps), end="", flush=True)
        except Exception as e:
            bench.failed(name, e)
        for c in three:
            c.close()


# ---- all of it -----------------------------------------------------------------------------------------------------------
SECTIONS = {"fp32": fp32, "numerics": numerics, "bf16": bf16, "epilogue": epilogue, "grouped": grouped, "tuning": tuning}


def main():
    a = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    a.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)} (default: all)")
    a.add_argument("--json", metavar="FILE", help="append what was measured")
    a.add_argument("--only", metavar="TEXT", help="rows whose name has this")
    a.add_argument("--pairs", type=int, default=30, help="interleaved rounds a row (default: %(default)s)")
    a.add_argument("--seeds", type=int, default=3, help="of each distribution (default: %(default)s)")
    a.add_argument("--budget", type=float, default=8, help="seconds of tuning a task (default: %(default)s)")
    a.add_argument("--max-seconds", type=float, metavar="S", help="begin no further row after this")
    a.add_argument("--keep", metavar="DIR", help="leave tasks and the tuning database there")
    a.add_argument("--dry-run", action="store_true", help="show what would be compiled, for sm_90a")
    a.add_argument("--rehearse", action="store_true", help="small extents on the CPU")
    options = a.parse_args()
    unknown = [s for s in options.sections if s not in SECTIONS]
    if unknown:
        a.error(f"no section {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    if not options.dry_run:
        if not torch:
            sys.exit("this needs PyTorch; --dry-run does without")
        torch.backends.cuda.matmul.allow_tf32 = False
        if not options.rehearse and not torch.cuda.is_available():
            sys.exit("no GPU here: --rehearse runs on the CPU, --dry-run compiles nothing")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or temporary
        os.makedirs(folder, exist_ok=True)
        bench, maker = Bench(options), Maker(options, folder)
        for name in options.sections or SECTIONS:
            start = time.perf_counter()
            SECTIONS[name](bench, maker)
            say(f"{name}: {time.perf_counter() - start:.1f} s")
    print(f"\n{time.perf_counter() - bench.began:.0f} s; {bench.bad} outside their rule or failed")
    return 1 if bench.bad else 0


if __name__ == "__main__":
    sys.exit(main())
