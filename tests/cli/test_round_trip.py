"""compile, run, verify, inspect and explain on small tasks on the CPU: what one writes, the other reads."""
import json
import math
import os
import re
import shutil
import unittest
import zipfile

import support


class RoundTrip(unittest.TestCase):
    def setUp(self):
        self.cwd = support.folder()
        self.addCleanup(shutil.rmtree, self.cwd)

    def pawl(self, *arguments, code=0, **more):
        done = support.pawl(*arguments, cwd=self.cwd, **more)
        self.assertEqual(done.returncode, code, done.stderr)
        return done

    def json(self, *arguments, **more):
        return json.loads(self.pawl(*arguments, "--format=json", **more).stdout)

    def path(self, name):
        return os.path.join(self.cwd, name)

    def read(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def compile(self, name="norm.yaml", to="x.pawl", *more):
        return self.pawl("compile", support.task(name), "-d", "cpu", "-o", to, *more)

    def checksums(self, *arguments):
        return {o["output"]: o["checksum"] for o in self.json("run", *arguments, "-d", "cpu")["outputs"]}

    def test_package_gives_what_the_task_gives(self):
        self.compile()
        for workload in ("small", "one", "prime"):
            self.assertEqual(self.checksums("x.pawl", "-w", workload),
                             self.checksums(support.task("norm.yaml"), "-w", workload))

    def test_generic_plan(self):
        self.compile()
        for dims in ("B=2,S=3", "B=1,S=1", "B=3,S=11", "B=64,S=128"):
            self.assertEqual(self.checksums("x.pawl", "--dims", dims),
                             self.checksums(support.task("norm.yaml"), "--dims", dims), dims)

    def test_only_the_workloads(self):
        self.compile("norm.yaml", "x.pawl", "--no-generic", "-w", "small")
        self.assertEqual([p["workload"] for p in self.json("inspect", "x.pawl")["plans"]], ["small"])
        self.pawl("run", "x.pawl", "-d", "cpu", "-w", "small")
        done = self.pawl("run", "x.pawl", "-d", "cpu", "--dims", "B=4,S=4", code=2)
        self.assertIn("no plan for other shapes", done.stderr)

    def test_a_fused_and_an_unfused_package_agree(self):
        self.compile()
        self.compile("norm.yaml", "y.pawl", "--no-fuse")
        self.assertEqual(self.checksums("x.pawl")["s"], self.checksums("y.pawl")["s"])
        count = [sum(len(p["kernels"]) for p in self.json("inspect", f)["plans"]) for f in ("x.pawl", "y.pawl")]
        self.assertLess(count[0], count[1])

    def test_inputs_and_outputs_are_npy(self):
        self.compile()
        values = [((i * 7) % 13 - 6) / 4 for i in range(288)]
        support.write(self.path("a.npy"), support.npy(values, (2, 3, 48)))
        self.pawl("run", "x.pawl", "-d", "cpu", "-w", "small", "-i", "x=@a.npy", "-i", "r=@a.npy", "-o", "out",
                  "-o", "y=again.npy")
        shape, s = support.read_npy(self.path("out/s.npy"))
        self.assertEqual((shape, s), ((2, 3, 48), [v + v for v in values]))
        self.assertEqual(self.read("out/y.npy"), self.read("again.npy"))
        for row in range(6):                     # each row has a mean square of about one, times the weight
            part = support.read_npy(self.path("again.npy"))[1][row * 48:row * 48 + 48]
            self.assertAlmostEqual(math.sqrt(sum(v * v for v in part) / 48), 1, delta=0.2)

    def test_fortran_order_is_read(self):
        self.compile()
        values = [float(i) for i in range(288)]
        support.write(self.path("c.npy"), support.npy(values, (2, 3, 48)))
        turned = [values[(i * 3 + j) * 48 + k] for k in range(48) for j in range(3) for i in range(2)]
        support.write(self.path("f.npy"), support.npy(turned, (2, 3, 48), fortran=True))
        run = ["x.pawl", "-w", "small", "-i", "x=@{}", "-i", "r=constant(0)"]
        self.assertEqual(*[self.checksums(*[a.format(f) for a in run]) for f in ("c.npy", "f.npy")])

    def test_shapes_come_from_the_files(self):
        self.compile()
        support.write(self.path("a.npy"), support.npy([0.25] * 5 * 48, (5, 1, 48)))
        out = self.json("run", "x.pawl", "-d", "cpu", "--dims", "B=5,S=1", "-i", "x=@a.npy")["outputs"]
        self.assertEqual(out[0]["type"], "f32[5, 1, 48]")

    def test_seeds(self):
        first, again, other = (self.checksums(support.task("norm.yaml"), "--seed", n) for n in ("3", "3", "4"))
        self.assertEqual(first, again)
        self.assertNotEqual(first, other)
        self.assertEqual(self.checksums(support.task("norm.yaml"), "-i", "x=constant(2)", "-i", "r=constant(-2)")["s"],
                         self.checksums(support.task("norm.yaml"), "-i", "x=constant(0)", "-i", "r=constant(0)")["s"])

    def test_repeat(self):
        done = self.pawl("run", support.task("linear.yaml"), "-d", "cpu", "--repeat", "5")
        self.assertRegex(done.stderr, r"5 calls on cpu: median \d")
        result = self.json("run", support.task("linear.yaml"), "-d", "cpu", "--repeat", "5")
        self.assertEqual((result["calls"], result["device"]), (5, "cpu"))
        self.assertGreater(result["median_seconds"], 0)

    def test_threads_do_not_change_results(self):
        self.assertEqual(*[self.checksums(support.task("norm.yaml"), "-w", "B=64,S=128", "-j", n) for n in ("1", "2")])

    def test_same_bytes_twice(self):
        for name in ("norm.yaml", "linear.yaml"):
            self.compile(name, "a.pawl")
            self.compile(name, "b.pawl")
            self.assertEqual(self.read("a.pawl"), self.read("b.pawl"), name)

    def test_package_is_a_zip(self):
        self.compile()
        with zipfile.ZipFile(self.path("x.pawl")) as z:
            self.assertIsNone(z.testzip())
            listed = self.json("inspect", "x.pawl", "--members")["members"]
            self.assertEqual([m["member"] for m in listed], z.namelist())
            manifest = json.loads(z.read("manifest.json"))
        self.assertEqual(manifest, self.json("inspect", "x.pawl", "--manifest")["manifest"])
        self.assertEqual(manifest["name"], "tests/norm")
        self.pawl("inspect", "x.pawl", "--check")

    def test_inspect_package(self):
        self.compile("linear.yaml")
        whole = self.json("inspect", "x.pawl")
        self.assertEqual([p.get("workload") for p in whole["plans"]], ["eight", "one", None])
        self.assertEqual({w["weight"] for w in whole["weights"]} & {"b"}, {"b"})
        text = self.pawl("inspect", "x.pawl").stdout
        self.assertIn("package tests/linear", text)
        for name in ("eight", "one", "generic"):
            self.assertRegex(text, rf"(?m)^{name} ")
        one = self.pawl("inspect", "x.pawl", "--plans", "-w", "one").stdout
        self.assertIn("workload one", one)
        self.assertNotIn("workload eight", one)

    def test_inspect_task(self):
        text = self.pawl("inspect", support.task("norm.yaml")).stdout
        for part in ("task tests/norm", "param  g", "output y", "workload prime: B=5 S=7"):
            self.assertIn(part, text)
        statements = self.json("inspect", support.task("norm.yaml"), "--statements", "-w", "small")
        self.assertEqual(statements["task"], "tests/norm")
        self.assertEqual([s["call"] for s in statements["statements"]], ["add", "rms_norm"])
        graph = self.pawl("inspect", support.task("norm.yaml"), "--graph", "-w", "small").stdout
        self.assertIn("f32[2, 3, 48]", graph)
        again = self.pawl("opt", "-", "--no-pass", "rules", stdin=graph.encode()).stdout
        self.assertIn("return", again)

    def test_emit(self):
        self.compile("norm.yaml", "x.pawl", "--emit", "plan,graph,object", "--emit-dir", "e")
        names = os.listdir(self.path("e"))
        for name in ("small.plan", "small.graph", "small.opt.graph", "generic.plan"):
            self.assertIn(name, names)
        objects = [n for n in names if n.endswith(".o")]
        self.assertTrue(objects)
        self.assertEqual(self.read("e/" + objects[0])[:4], b"\x7fELF")

    def test_emit_ir(self):
        self.compile("norm.yaml", "x.pawl", "--emit", "kir,llvm", "--emit-dir", "e")
        for workload in ("small", "generic"):
            names = os.listdir(self.path("e/" + workload))
            self.assertIn("kernels.ll", names)
            kir = [n for n in names if n.endswith(".kir")]
            self.assertTrue(kir)
            self.assertIn(b"kernel ", self.read(f"e/{workload}/{kir[0]}"))
        self.compile("norm.yaml", "x.pawl", "--dump-dir", "dumps", "-w", "small")
        self.assertTrue([n for n in os.listdir(self.path("dumps/small")) if n.endswith(".graph")])

    def test_gpu_code_without_a_gpu(self):
        done = self.pawl("compile", support.task("norm.yaml"), "-d", "sm_90a", "-o", "x.pawl", "--emit", "cuda,ptx",
                         "--emit-dir", "e")
        names = os.listdir(self.path("e"))
        ptx = [n for n in names if n.startswith("small") and n.endswith(".ptx")]
        cuda = [n for n in names if n.startswith("small") and n.endswith(".cu")]
        self.assertTrue(ptx and cuda, (names, done.stderr))
        self.assertIn(b".entry", self.read("e/" + ptx[0]))
        self.assertIn(b"__global__", self.read("e/" + cuda[0]))
        self.assertEqual(self.json("inspect", "x.pawl")["plans"][0]["target"], "cuda")

    def test_verify(self):
        rows = self.json("verify", support.task("norm.yaml"), support.task("linear.yaml"), "-d", "cpu")
        self.assertEqual([(r["task"], r["workload"], r["output"]) for r in rows][:2],
                         [("tests/norm", "small", "s"), ("tests/norm", "small", "y")])
        for row in rows:
            self.assertTrue(row["pass"])
            self.assertEqual(row["elements"], row["checked"])
            self.assertLessEqual(row["worst_ratio"], 1)
        for more in (["--no-fuse"], ["-w", "B=3,S=17"], ["-d", "x86-64-v2"], ["--no-pass", "rules"]):
            with self.subTest(more=more):
                self.pawl("verify", support.task("norm.yaml"), *(more if "-d" in more else [*more, "-d", "cpu"]))

    def test_verify_csv(self):
        lines = self.pawl("verify", support.task("norm.yaml"), "-d", "cpu", "--format=csv").stdout.split("\n")
        self.assertEqual(lines[0].split(",")[:5], ["task", "workload", "output", "device", "pass"])
        self.assertEqual(len(lines), 1 + 6 + 1)

    def test_verify_package(self):
        self.compile()
        self.pawl("verify", support.task("norm.yaml"), "--package", "x.pawl", "-d", "cpu", "-w", "small", "-w", "B=7,S=2")

    def test_explain(self):
        one = self.json("explain", support.task("norm.yaml"), "-d", "cpu", "-w", "small")[0]
        self.assertEqual((one["task"], one["workload"]), ("tests/norm", "small"))
        self.assertGreater(one["floor"]["us"], 0)
        group = one["groups"][0]
        self.assertEqual(group["reads"], ["x", "r", "g"])
        self.assertGreater(group["bytes_read"], 2 * 288 * 4)
        places = {n["place"] for n in group["nodes"] if n["place"]}
        self.assertTrue(any(re.search(r"norm\.yaml:\d+:\d+$", p) for p in places), places)
        self.assertTrue(any(n["origin"] == "rms_norm" for n in group["nodes"]))
        self.assertEqual(group["schedule_from"], "default")
        text = self.pawl("explain", support.task("norm.yaml"), "-d", "cpu", "-w", "small").stdout
        for part in ("floor", "groups", "steps", "rms_norm", "predicted"):
            self.assertIn(part, text)

    def test_without_a_kind(self):
        """Another one steps in."""
        task = ("linear.yaml", "-d", "sm_90a", "-w", "eight")
        kinds = {g["kind"] for g in self.json("explain", support.task(task[0]), *task[1:])[0]["groups"]}
        for kind in kinds:
            left = {g["kind"] for g in self.json("explain", support.task(task[0]), *task[1:], "--no-kind", kind)[0]["groups"]}
            self.assertNotIn(kind, left)
            self.assertTrue(left)

    def test_explain_for_a_gpu_that_is_not_here(self):
        one = self.json("explain", support.task("linear.yaml"), "-d", "sm_90a", "-w", "eight")[0]
        self.assertEqual(one["arch"], "sm_90a")

    def test_quiet(self):
        done = self.compile("norm.yaml", "x.pawl", "-q")
        self.assertEqual((done.stdout, done.stderr), ("", ""))

    def test_data_and_talk_are_apart(self):
        done = self.compile("norm.yaml", "x.pawl")
        self.assertEqual(done.stdout, "")
        self.assertIn("wrote x.pawl", done.stderr)
        rows = self.json("compile", support.task("norm.yaml"), "-d", "cpu", "-o", "x.pawl")
        self.assertEqual([r["workload"] for r in rows], ["small", "one", "prime", "generic"])


if __name__ == "__main__":
    support.require_pawl()
    unittest.main(verbosity=2)
