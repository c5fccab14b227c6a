"""Records of torch timings, anchors and the report, without PyTorch."""
import contextlib
import io
import json
import os
import shutil
import sys
import tempfile
import types
import unittest

ROOT = os.environ.get("SOURCE_DIR") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "python"))
from pawl import compare, records, report  # noqa: E402

MACHINE = {"device": "X", "torch": "2.11"}


def program(task="kernelbench/level2/037_matmul", workload="published", **dims):
    return types.SimpleNamespace(task=task, workload=workload, dims=dims or {"M": 4}, seed=0)


def entry(us):
    return {"us": us, "samples_us": [us * f for f in (0.99, 1.0, 1.01)], "error": {"max_abs": 0.0}}


class Records(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(dir=os.environ.get("TEST_TMP"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.path = os.path.join(self.folder, "torch.json")

    def test_resumes_with_what_is_missing(self):
        r = records.Record(self.path)
        self.assertEqual(r.missing(program(), ["eager", "max-autotune"]), ["eager", "max-autotune"])
        r.add(program(), {"eager": entry(10.0), "default": {"failed": "out of memory"}}, MACHINE, "today")
        r.write()
        again = records.Record(self.path)
        self.assertEqual(again.missing(program(), ["eager", "default", "max-autotune"]), ["max-autotune"])
        self.assertEqual(again.missing(program(workload="other"), ["eager"]), ["eager"])
        again.add(program(), {"max-autotune": entry(5.0)}, {"device": "Y"}, "tomorrow")
        again.write()
        modes = records.Record(self.path).modes(program())
        self.assertEqual({m: e["us"] for m, e in modes.items()}, {"eager": 10.0, "max-autotune": 5.0})
        self.assertEqual([modes[m]["machine"] for m in ("eager", "max-autotune")], [0, 1])
        self.assertLess(modes["eager"]["low"], modes["eager"]["high"])
        self.assertEqual(records.best_of(modes), "max-autotune")
        self.assertEqual(sorted(os.listdir(self.folder)), ["torch.json"])

    def test_reads_the_earlier_forms(self):
        for name, content in (("mlp B1 S512", {"eager": 3.0, "max-autotune": 2.0}),
                              ("2/37:fp32", {"eager_us": 3.0, "max-autotune_us": 2.0, "max-autotune_compile_s": 9.0,
                                             "best_us": 2.0, "mem_floor_us": 1.0, "flops": 7})):
            with open(self.path, "w", encoding="utf-8") as f:
                json.dump({name: content}, f)
            p = program("qwen3/mlp", B=1, S=512) if "mlp" in name else program()
            self.assertEqual({m: e["us"] for m, e in records.Record(self.path).modes(p).items()},
                             {"eager": 3.0, "max-autotune": 2.0})

    def test_refuses_other_files(self):
        with open(self.path, "w", encoding="utf-8") as f:
            json.dump({"format": "something else", "rows": []}, f)
        with self.assertRaises(ValueError):
            records.Record(self.path)
        with self.assertRaises(FileNotFoundError):
            records.Record(self.path + ".none", must_exist=True)

    def test_unpaired_ratio(self):
        ratio, low, high = records.unpaired_ratio([20.0, 21.0, 22.0, 21.0], [10.0, 10.5, 11.0, 10.4])
        self.assertAlmostEqual(ratio, 21.0 / 10.45)
        self.assertTrue(20 / 11 <= low <= ratio <= high <= 22 / 10, (low, high))
        self.assertEqual(records.unpaired_ratio([4.0], [2.0]), (2.0, 2.0, 2.0))

    def test_anchors(self):
        names = [f"t{i}" for i in range(9)]
        self.assertEqual(records.pick_anchors(names, 3), {"t1", "t4", "t7"})
        self.assertEqual(records.pick_anchors(names, 0), set())
        self.assertEqual(records.pick_anchors(names[:2], 5), {"t0", "t1"})
        a = records.Anchors()
        self.assertFalse(a.agree())
        self.assertIn("no anchors", a.verdict())
        a.add("t1", {"eager": 0.5, "best": 0.01})
        a.add("t2", {"eager": 0.5})                       # only eager: says nothing about the best mode
        self.assertTrue(a.agree())
        self.assertIn("within 1.0%", a.verdict())
        a.add("t3", {"best": -0.04})
        self.assertFalse(a.agree())
        self.assertIn("OFF BY 4.0%", a.verdict())

    def test_deviations(self):
        self.assertEqual(records.deviations({"eager": {"us": 4.0}, "a": {"us": 2.0}, "b": {"us": 1.0}},
                                            {"eager": {"us": 5.0}, "a": {"us": 1.5}}), {"eager": 0.25, "a": -0.25, "best": 0.5})


class Report(unittest.TestCase):
    def row(self, name, ratio, **more):
        return {"task": name, "workload": "w", "best": "m", "ok": True,
                "ours": {"us": 1.0, "error": {"outside": 0, "max_abs": 0.0}},
                "modes": {"m": {"us": ratio, "ratio": ratio, "ratio_low": ratio, "ratio_high": ratio}}, **more}

    def test_summary(self):
        off = {"verdict": "torch recorded, anchors OFF BY 9.0%", "agrees": False}
        rows = [self.row("a", 2.0), self.row("b", 0.5), self.row("c", 16.0, collapsed=True), self.row("d", 9.0, recorded=off),
                {"task": "e", "workload": None, "modes": {}, "ours": None, "ok": False}]
        s = report.summary(rows)
        self.assertAlmostEqual(s["geometric_mean"], 1.0)
        self.assertAlmostEqual(s["geometric_mean_with_collapsed"], 16 ** (1 / 3))
        self.assertEqual((s["rows"], s["timed"], s["ok"], s["losing"], s["collapsed"]), (5, 3, 4, ["b w"], ["c w"]))
        self.assertIn("over 2 rows: 1.000x", report.closing(rows))
        self.assertIn("OFF BY", report.line(report.cells(rows[3])))
        self.assertIn("by algebra", report.line(report.cells(rows[2])))
        self.assertIn("FAILED", report.line(report.cells(rows[4])))

    def test_options(self):
        for words in (["t", "--anchors", "2"], ["t", "--record", "f", "--baseline", "g"], ["t", "--record", "f", "--json", "g"]):
            with self.assertRaises(SystemExit) as e, contextlib.redirect_stderr(io.StringIO()):
                compare.arguments(words)
            self.assertEqual(e.exception.code, 2, words)
        self.assertEqual(compare.arguments(["t", "--cpu"]).modes, "eager")

    def test_nothing_starts_that_may_not_end(self):
        clock = compare.Clock(100)
        clock.took(40)
        self.assertFalse(clock.late())
        clock.took(101)
        self.assertTrue(clock.late())
        self.assertFalse(compare.Clock(None).late())


if __name__ == "__main__":
    unittest.main()
