"""The comparison itself, on the CPU, where there is PyTorch: errors, and a record, its resumption and its use on small tasks."""
import contextlib
import io
import json
import os
import re
import shutil
import sys
import tempfile
import unittest

ROOT = os.environ.get("SOURCE_DIR") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "python"))
try:
    import torch
except ImportError:
    print("SKIP: there is no PyTorch")
    sys.exit(77)
if os.environ.get("PAWL_SANITIZED") == "1":
    print("SKIP: a sanitized libpawl.so cannot be loaded into a plain Python")
    sys.exit(77)
from pawl import compare, errors  # noqa: E402

TASKS = ("level1/015_matmul_lower_triangular", "level2/051_gemm_subtract_mean_logsumexp_gelu_add",
         "level2/075_gemm_groupnorm_min_biasadd")


class Errors(unittest.TestCase):
    def setUp(self):
        self.kept = errors.PIECE
        self.addCleanup(setattr, errors, "PIECE", self.kept)
        self.y64 = torch.linspace(1, 2, 60, dtype=torch.float64).reshape(3, 20)

    def judge(self, y, y64=None, **how):
        y64 = self.y64 if y64 is None else y64
        return errors.Truth(y64, y64.to(y.dtype), **how).judge(y)

    def test_pieces_cover_everything_once(self):
        for piece in (1, 7, 20, 47, 1000):
            errors.PIECE = piece
            seen = torch.zeros(3, 20)
            for r, c in errors.pieces(seen):
                seen[r, c] += 1
            self.assertTrue(bool((seen == 1).all()), piece)

    def test_any_piece_size_gives_the_same(self):
        y = self.y64.float()
        y[1, 3] += 1e-3
        want = self.judge(y)
        self.assertEqual((want["outside"], want["checked"]), (1, 60))
        self.assertAlmostEqual(want["max_abs"], 1e-3, places=6)
        for piece in (1, 7, 20, 47):
            errors.PIECE = piece
            got = self.judge(y)
            self.assertEqual((got["outside"], got["max_abs"], got["worst"]), (want["outside"], want["max_abs"], want["worst"]))
            self.assertAlmostEqual(got["rms"], want["rms"], places=12)

    def test_what_is_not_finite(self):
        for bad in (float("nan"), float("inf")):
            y = self.y64.float()
            y[2, 19] = bad
            self.assertEqual(self.judge(y)["outside"], 1)
            y64 = self.y64.clone()
            y64[2, 19] = bad
            self.assertEqual(self.judge(y, y64)["outside"], 0)

    def test_constant_outputs_are_told(self):
        flat = torch.zeros(3, 4, dtype=torch.float64)
        for y64, constant in ((self.y64, False), (flat, True), ((flat, flat + 1), True), ((flat, self.y64), False)):
            self.assertEqual(errors.Truth(y64, y64).constant, constant)

    def test_integers_and_shapes(self):
        y64 = torch.arange(6).reshape(2, 3)
        self.assertEqual(self.judge(y64 + torch.tensor([0, 0, 1]), y64)["outside"], 2)
        with self.assertRaises(ValueError):
            self.judge(self.y64.float().reshape(20, 3))

    def test_a_row_may_end_in_dims_of_one(self):
        """The allowance comes from the row, not from the element: one wide of the mark allows its neighbours as much."""
        base = self.y64.float()
        base[0, 0] += 1e-3
        y = self.y64.float()
        y[0, 1] += 1e-3
        shape = (1, 3, 20, 1)
        self.assertEqual(errors.Truth(self.y64, base).judge(y)["outside"], 0)
        self.assertEqual(errors.Truth(self.y64.reshape(shape), base.reshape(shape)).judge(y.reshape(shape))["outside"], 0)
        y[1, 1] += 1e-3
        self.assertEqual(errors.Truth(self.y64.reshape(shape), base.reshape(shape)).judge(y.reshape(shape))["outside"], 1)

    def test_movement_allows_what_inputs_cause(self):
        x = torch.full((4, 8), 3.0, dtype=torch.float64)
        y = (x * (1 + 2.0 ** -22)).float()
        self.assertEqual(errors.Truth(x, x.float()).judge(y)["outside"], 32)
        self.assertEqual(errors.Truth(x, x.float(), lambda v: v, [x]).judge(y)["outside"], 0)


class WholeRuns(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(dir=os.environ.get("TEST_TMP"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.tasks = [self.small(t) for t in TASKS]

    def small(self, name):
        with open(os.path.join(ROOT, "tasks/kernelbench", name + ".yaml"), encoding="utf-8") as f:
            text = re.sub(r"^dims: .*# tiny: (\{.*\})$", r"dims: \1", f.read(), flags=re.M)
        path = os.path.join(self.folder, os.path.basename(name) + ".yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def run_main(self, *words, code=0):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            got = compare.main([*words, "--cpu", "--pairs", "3"])
        self.assertEqual(got, code, out.getvalue() + err.getvalue())
        return out.getvalue() + err.getvalue()

    def read(self, name):
        with open(os.path.join(self.folder, name), encoding="utf-8") as f:
            return json.load(f)

    def test_record_resume_and_compare(self):
        record, result = os.path.join(self.folder, "torch.json"), os.path.join(self.folder, "out.json")
        self.run_main(self.tasks[0], "--record", record)
        first = self.read("torch.json")
        text = self.run_main(*self.tasks, "--record", record)
        self.assertIn("recorded", text)
        rows = self.read("torch.json")["rows"]
        self.assertEqual(len(rows), 3)
        for name, row in first["rows"].items():                               # not measured again
            self.assertEqual(rows[name], row)
        self.assertTrue(all(r["modes"]["eager"]["error"]["outside"] == 0 for r in rows.values()))
        self.run_main(*self.tasks, "--baseline", record, "--anchors", "1", "--json", result)
        out = self.read("out.json")["rows"]
        self.assertEqual([r["ok"] for r in out], [True] * 3)
        self.assertEqual([bool(r.get("recorded")) for r in out], [False, True, True])
        self.assertIn("deviation", out[0]["baseline"])
        self.assertTrue(all(r["modes"]["eager"]["ratio"] > 0 for r in out))
        self.assertTrue(all(not r["recorded"]["missing"] for r in out[1:]))
        text = self.run_main(self.tasks[1], "--baseline", record, "--anchors", "0", "--modes", "eager,default")
        self.assertIn("no anchors, no record of default", text)

    def test_stops_in_time(self):
        record = os.path.join(self.folder, "torch.json")
        text = self.run_main(*self.tasks, "--record", record, "--max-seconds", "1e-9", code=1)
        self.assertIn("3 of these tasks' incomplete", text)
        self.assertFalse(os.path.exists(record))

    def test_a_wrong_task_stops_no_other(self):
        bad = os.path.join(self.folder, "bad.yaml")
        with open(bad, "w", encoding="utf-8") as f:
            f.write("task: bad\ngraph: |\n  %y = nothing(%x)\noutputs: [y]\n")
        record = os.path.join(self.folder, "torch.json")
        self.assertIn("bad.yaml", self.run_main(bad, self.tasks[0], "--record", record, code=1))
        self.assertEqual(len(self.read("torch.json")["rows"]), 1)


if __name__ == "__main__":
    unittest.main()
