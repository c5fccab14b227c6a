"""What a comparison prints and writes: a line a row, the geometric mean, JSON."""
import json
import os
import tempfile

COLUMNS = (("task", 42), ("workload", 13), ("pawl us", 9), ("torch us", 9), ("best mode", 36), ("ratio", 22), ("floor us", 9),
           ("busy us", 15), ("max err", 17), ("made in s", 18), ("", 0))


def number(x, form="{:.1f}"):
    return "-" if x is None else form.format(x)


def verdict(r):
    error = (r["ours"] or {}).get("error") or {}
    text = "ok" if r["ok"] else f"{error['outside']} WRONG" if error.get("outside") else "FAILED"
    deviation = (r.get("baseline") or {}).get("deviation", {}).get("best")
    if deviation is not None:
        text += f", torch {deviation:+.1%} of baseline"
    return text + (f", {r['recorded']['verdict']}" if r.get("recorded") else "")


def cells(r):
    ours, best = r["ours"] or {}, r["modes"].get(r.get("best"), {})
    error, theirs = ours.get("error") or {}, best.get("error") or next(
        (e["error"] for e in r["modes"].values() if e.get("error")), {})
    ratio = f"{best['ratio']:.3f} [{best['ratio_low']:.3f}, {best['ratio_high']:.3f}]" if best.get("ratio") else "-"
    made = f"{number(ours.get('compile_s'))}+{number(ours.get('tune_s'))}/{number(best.get('compile_s'))}"
    return (r["task"].removeprefix("kernelbench/").split("qwen3/")[-1], r["workload"] or "-", number(ours.get("us"), "{:.2f}"),
            number(best.get("us"), "{:.2f}"), r.get("best") or "-", ratio, number((r.get("floor") or {}).get("us"), "{:.2f}"),
            f"{number(ours.get('busy_us'))}/{number(best.get('busy_us'))}",
            f"{number(error.get('max_abs'), '{:.2g}')}/{number(theirs.get('max_abs'), '{:.2g}')}", made, verdict(r))


def line(values):
    return "  ".join(str(v).ljust(w) for v, (_, w) in zip(values, COLUMNS)).rstrip()


def counts(r):
    """Whether a row's ratio means something: not where it rests on a record that the anchors contradict."""
    return bool(r.get("best") and r["modes"][r["best"]].get("ratio") and (not r.get("recorded") or r["recorded"]["agrees"]))


def summary(rows):
    """Geometric mean of the ratios to the best mode, and the rows that lose."""
    from math import exp, log
    ratios = [r["modes"][r["best"]]["ratio"] for r in rows if counts(r)]
    losing = [f"{r['task']} {r['workload']}" for r in rows if counts(r) and r["modes"][r["best"]].get("ratio_high", 1) < 0.98]
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
