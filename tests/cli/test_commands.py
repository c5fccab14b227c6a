"""opt, doctor, db, tune, bench: what they print, and that they stop when told to."""
import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import time
import unittest

import support

OPTIMISED = """graph chain {
  dim N in [1, 64]
  input %x : f32[N, 8] ~ normal(0, 1)
  return y=%x
}
"""
PRODUCT = """task: x
about: A power, broadcast.
inputs: {x: "f32[3, 1]"}
graph: |
  %p = pow(%x, %x)
  %y = expand(%p, shape=[3, 5])
outputs: [y]
numerics: bf16
"""
ENDLESS = """
- rule: there
  about: Undone by the next.
  match: |
    %p = pow(%x, %x)
    %y = expand(%p)
  rewrite: "%y = sqrt(expand(%x, shape=shape(%y)))"
  where: [is_float(%x)]
  exactness: precision(bf16)
- rule: back
  about: Undone by the one before.
  match: |
    %e = expand(%x)
    %y = sqrt(%e)
  rewrite: "%y = expand(pow(%x, %x), shape=shape(%y))"
  where: [is_float(%x), "not(same_count(%x, %y))"]
  exactness: precision(bf16)
  measure: elements
"""


class Commands(unittest.TestCase):
    def setUp(self):
        self.cwd = support.folder()
        self.addCleanup(shutil.rmtree, self.cwd)

    def pawl(self, *arguments, code=0, **more):
        done = support.pawl(*arguments, cwd=self.cwd, **more)
        self.assertEqual(done.returncode, code, done.stderr)
        return done

    def json(self, *arguments, **more):
        return json.loads(self.pawl(*arguments, "--format=json", **more).stdout)

    # opt

    def test_opt(self):
        self.assertEqual(self.pawl("opt", support.task("chain.graph")).stdout, OPTIMISED)

    def test_opt_is_stable(self):
        once = self.pawl("opt", support.task("norm.yaml")).stdout
        self.assertEqual(self.pawl("opt", "-", stdin=once.encode()).stdout, once)

    def test_opt_of_stdin_to_a_file(self):
        with open(support.task("chain.graph"), "rb") as file:
            self.pawl("opt", "-", "-o", "out.graph", stdin=file.read())
        with open(os.path.join(self.cwd, "out.graph"), encoding="utf-8") as file:
            self.assertEqual(file.read(), OPTIMISED)

    def test_opt_without_passes(self):
        passes = re.search(r"passes: (.*)", self.pawl("opt", support.task("chain.graph"), "--no-pass", "zzzzzzzz", code=2).stderr)
        off = [o for p in passes[1].split(", ") for o in ("--no-pass", p)]
        text = self.pawl("opt", support.task("chain.graph"), *off).stdout
        self.assertEqual(text.count("neg("), 2)

    def test_opt_specialised(self):
        text = self.pawl("opt", support.task("norm.yaml"), "-w", "small").stdout
        self.assertIn("f32[2, 3, 48]", text)
        self.assertIn("f32[5, 8]", self.pawl("opt", support.task("chain.graph"), "-w", "N=5").stdout)

    def test_opt_reports(self):
        done = self.pawl("opt", support.task("chain.graph"), "--timing", "--rule-stats")
        self.assertEqual(done.stdout, OPTIMISED)
        self.assertRegex(done.stderr, r"(?m)^fold ")
        self.assertRegex(done.stderr, r"(?m)^rule +tried +fired +us$")

    def test_opt_warns_of_rules_without_end(self):
        support.write(os.path.join(self.cwd, "rules", "endless.yaml"), ENDLESS)
        support.write(os.path.join(self.cwd, "x.yaml"), PRODUCT)
        done = self.pawl("opt", "x.yaml", "--rules", "rules", "--rule-stats")
        self.assertIn("warning: stopped after 8 rounds", done.stderr)
        self.assertNotIn("warning", self.pawl("opt", "x.yaml", "--rule-stats").stderr)

    def test_opt_dumps(self):
        done = self.pawl("opt", support.task("chain.graph"), "--dump-after", "all", "--dump-dir", "dumps", "--verify-passes")
        self.assertGreater(done.stderr.count("graph chain {"), 2)
        self.assertGreater(len(os.listdir(os.path.join(self.cwd, "dumps"))), 2)

    def test_opt_json(self):
        self.assertEqual(self.json("opt", support.task("chain.graph"))["graph"], OPTIMISED)

    # doctor

    def test_doctor(self):
        rows = {r["component"]: r for r in self.json("doctor")}
        self.assertLessEqual({"pawl", "CPU", "LLVM", "libmvec", "CUDA driver", "CUDA device", "NVRTC", "assembler", "cuBLASLt",
                              "database"}, set(rows))
        self.assertTrue(rows["CPU"]["found"] and rows["LLVM"]["found"])
        for row in rows.values():
            self.assertTrue(row["detail"])
            self.assertTrue(row["found"] or row["remedy"], row)
        self.assertFalse(rows["database"]["found"])

    def test_doctor_never_fails(self):
        support.write(os.path.join(self.cwd, "cache/tuning.sqlite"), b"garbage " * 1000)
        self.assertRegex(self.pawl("doctor").stdout, r"(?m)^database +absent")

    # the database

    def test_db_path(self):
        self.assertEqual(self.pawl("db", "path").stdout, os.path.join(self.cwd, "cache", "tuning.sqlite") + "\n")
        self.assertEqual(self.pawl("db", "path", env={"PAWL_DB": "/a/b"}).stdout, "/a/b\n")
        self.assertEqual(self.pawl("db", "path", "--db", "c.sqlite", env={"PAWL_DB": "/a/b"}).stdout, "c.sqlite\n")

    def test_db_empty(self):
        done = self.pawl("db", "list")
        self.assertEqual(done.stdout, "")
        self.assertIn("empty", done.stderr)
        self.assertFalse(os.path.exists(os.path.join(self.cwd, "cache/tuning.sqlite")))

    def tune(self, *more, **options):
        return self.pawl("tune", support.task("norm.yaml"), "-d", "cpu", "-w", "small", "--budget", "6", *more, **options)

    def test_explain_says_what_a_product_beat(self):
        """The log of measurements has all that was tried; of a schedule the last one counts, of another driver none."""
        task = (support.task("linear.yaml"), "-d", "cpu", "-w", "eight", "--pick", "stack_projections=1")
        rows = self.json("tune", *task, "--budget", "5", "-q")
        self.assertFalse([r["problem"] for r in rows if r["problem"].startswith("stack_projections")])      # it was given: nothing to measure
        group = next(g for g in self.json("explain", *task)[0]["groups"] if "product" in g)
        product = group["product"]
        extents = [product[k] for k in ("m", "n", "k", "batch")]
        self.assertEqual((extents, product["format"], product["class"]), ([8, 48, 32, 1], "bf16", "bf16"))
        self.assertAlmostEqual(product["tflops"], 2 * 8 * 48 * 32 / group["measured"]["us"] * 1e-6)
        self.assertEqual((product["library"], product["other_tile"]), (None, None))
        with contextlib.closing(sqlite3.connect(os.path.join(self.cwd, "cache", "tuning.sqlite"))) as db, db:
            device, here = db.execute("SELECT device, environment FROM tunings").fetchone()
            problem = int(group["problem"], 16)
            problem -= (problem >> 63) << 64
            for what, outcome, us, where in (
                    ("library algorithm=1", "ok", 0.5, here), ("library algorithm=1", "ok", 41, here), ("library algorithm=2", "ok", 42, here),
                    ("library algorithm=3", "wrong result: x", 1, here), ("library algorithm=4", "ok", 1, "driver=1 " + here),
                    ("gemm bm=64", "ok", 43, here), ("gemmed", "ok", 1, here), (group["measured"]["schedule"], "ok", 0.1, here)):
                db.execute("INSERT INTO measurements (device, environment, problem, what, outcome, us, samples, date) "
                           "VALUES (?, ?, ?, ?, ?, ?, 30, 0)", (device, where, problem, what, outcome, us))
        product = next(g for g in self.json("explain", *task)[0]["groups"] if "product" in g)["product"]
        self.assertEqual(product["library"], {"schedule": "library algorithm=1", "us": 41})
        self.assertEqual(product["other_tile"], {"schedule": "gemm bm=64", "us": 43})
        text = self.pawl("explain", *task).stdout
        self.assertRegex(text, r'product 8x48x32, bf16, class bf16, [\d.e-]+ TFLOP/s\n +the library\'s best: 41.00 us, [\d.]+x "library algorithm=1"')
        self.assertRegex(text, r'the next tile: 43.00 us, [\d.]+x "gemm bm=64"')

    def test_tune_remembers(self):
        first = self.tune("--format=json")
        row = json.loads(first.stdout)[0]
        self.assertIn(row["state"], ("tuned", "begun"))
        self.assertTrue(row["schedule"])
        listed = self.json("db", "list")
        self.assertEqual([t["problem"] for t in listed["tunings"]], [row["problem"]])
        self.assertEqual(len(listed["devices"]), 1)
        if row["state"] == "tuned":
            again = self.tune()
            self.assertIn("the device was not touched", again.stderr)
            self.assertIn("0 tuned, 1 known", again.stderr)
        shown = self.json("db", "show", row["problem"])
        self.assertGreaterEqual(len(shown["measurements"]), 1)
        explained = self.json("explain", support.task("norm.yaml"), "-d", "cpu", "-w", "small")[0]
        self.assertEqual(explained["groups"][0]["measured"]["schedule"], row["schedule"])
        self.assertIsNone(explained["verified"])
        plain = self.json("explain", support.task("norm.yaml"), "-d", "cpu", "-w", "small", "--no-tuned")[0]
        self.assertNotIn("measured", plain["groups"][0])

        self.pawl("verify", support.task("norm.yaml"), "-d", "cpu", "-w", "small")
        text = self.pawl("explain", support.task("norm.yaml"), "-d", "cpu", "-w", "small").stdout
        self.assertRegex(text, r"\n  verified: ok, 0\.\d+ of the error that is allowed, 0\.\d+ in the mean square; 576 elements\n")
        self.assertNotIn("verified", self.pawl("explain", support.task("norm.yaml"), "-d", "cpu", "-w", "one").stdout)

        exported = self.pawl("db", "export").stdout
        support.write(os.path.join(self.cwd, "e.json"), exported)
        self.pawl("db", "import", "e.json", "--db", "copy.sqlite")
        copied = self.json("db", "list", "--db", "copy.sqlite")
        self.assertEqual([(t["problem"], t["schedule"], t["date"]) for t in copied["tunings"]],
                         [(t["problem"], t["schedule"], t["date"]) for t in listed["tunings"]])
        self.pawl("db", "forget", "--all", "--db", "copy.sqlite")
        self.assertEqual(self.json("db", "list", "--db", "copy.sqlite"), {"devices": [], "tunings": [], "choices": []})
        self.assertEqual(self.json("db", "list"), listed)

    def test_tune_stops(self):
        """Ctrl-C ends a tuning run soon, with what was found kept."""
        env = {**os.environ, "PAWL_CACHE_DIR": os.path.join(self.cwd, "cache"), "PAWL_THREADS": "2"}
        command = [support.PAWL, "tune", *[support.task("norm.yaml")] * 500, "-d", "cpu", "--again"]
        with subprocess.Popen(command, cwd=self.cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            self.assertIn(b"tests/norm", process.stderr.readline())
            process.send_signal(signal.SIGINT)
            start = time.monotonic()
            _, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 6, errors)
        self.assertLess(time.monotonic() - start, 30)
        self.assertIn(b"interrupted", errors)
        self.assertTrue(self.json("db", "list")["devices"])

    # bench

    def test_bench(self):
        rows = self.json("bench", support.task("norm.yaml"), "-d", "cpu", "--runs", "3", "--warmup", "2", "--max-seconds", "0.5",
                         "-w", "small",
                         "--export-json", "rows.json")
        self.assertEqual([(r["task"], r["workload"]) for r in rows], [("tests/norm", "small")])
        self.assertLessEqual(rows[0]["samples"], 3)
        self.assertGreater(rows[0]["median_us"], 0)
        self.assertGreater(rows[0]["unfused_us"], 0)
        self.assertGreater(rows[0]["floor_us"], 0)
        with open(os.path.join(self.cwd, "rows.json"), encoding="utf-8") as file:
            exported = json.load(file)
        self.assertEqual(len(exported[0]["samples_us"]), exported[0]["samples"])


if __name__ == "__main__":
    support.require_pawl()
    unittest.main(verbosity=2)
