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
    text += ", by algebra" if r.get("collapsed") else ""
    text += ", its output is constant" if r.get("constant") else ""
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


def ratio(r):
    """A row's ratio to the best mode; None where it means nothing: without one, or where it rests on a record that the anchors
    contradict."""
    if r.get("recorded") and not r["recorded"]["agrees"]:
        return None
    return r["modes"].get(r.get("best"), {}).get("ratio")


def mean_ratio(rows):
    from math import exp, log
    ratios = [ratio(r) for r in rows]
    return exp(sum(map(log, ratios)) / len(ratios)) if ratios else None


def summary(rows):
    """Geometric mean of the ratios to the best mode, and the rows that lose. What algebra took apart stands apart, too."""
    timed = [r for r in rows if ratio(r)]
    losing = [f"{r['task']} {r['workload']}" for r in timed if r["modes"][r["best"]].get("ratio_high", 1) < 0.98]
    collapsed = [f"{r['task']} {r['workload']}" for r in timed if r.get("collapsed")]
    return {"geometric_mean": mean_ratio([r for r in timed if not r.get("collapsed")]),
            "geometric_mean_with_collapsed": mean_ratio(timed), "rows": len(rows), "timed": len(timed),
            "ok": sum(r["ok"] for r in rows), "losing": losing, "collapsed": collapsed}


def closing(rows):
    """The last line."""
    s = summary(rows)
    if s["geometric_mean"] is None:
        return f"{s['rows']} rows, {s['ok']} ok, none with a ratio that counts"
    text = f"geometric mean over {s['timed'] - len(s['collapsed'])} rows: {s['geometric_mean']:.3f}x the best torch mode"
    if s["collapsed"]:
        text += f" (with what algebra took apart, {', '.join(s['collapsed'])}: {s['geometric_mean_with_collapsed']:.3f}x)"
    return text + (f"; slower: {', '.join(s['losing'])}" if s["losing"] else "")


def write_json(path, meta, rows):
    if not path:
        return
    text = json.dumps({**meta, "summary": summary(rows), "rows": rows}, indent=1, default=str)
    folder = os.path.dirname(os.path.abspath(path))
    with tempfile.NamedTemporaryFile("w", dir=folder, delete=False, suffix=".tmp") as f:
        f.write(text)
    os.replace(f.name, path)
