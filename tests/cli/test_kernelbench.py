"""tasks/kernelbench: every task holds at its published sizes, and on the CPU, at the tiny sizes beside its `dims:`, gives what the
evaluator gives."""
import glob
import json
import os
import re
import shutil
import unittest

import support

FILES = sorted(glob.glob(os.path.join(support.SOURCE, "tasks/kernelbench/level*/*.yaml")))
PUBLISHED = {       # multiply-adds of the products as published: a wrong size shows here
    "level1/001": 4096 ** 3, "level1/003": 128 * 512 * 1024 * 2048, "level1/005": 0, "level1/007": 32768 * 64 * 32768,
    "level1/009": 32768 * 32 * 32768, "level1/011": 8 * 256 * 512 * 256 * 768, "level1/013": 4096 ** 3, "level1/015": 4096 ** 3,
    "level1/017": 2048 * 8192 * 4096,
    "level2/009": 2 ** 36, "level2/029": 2 ** 36, "level2/033": 2 ** 36, "level2/037": 2 ** 37, "level2/039": 2 ** 38,
    "level2/041": 2 ** 38, "level2/045": 16384 * 4096 * (2048 + 1024), "level2/051": 2 ** 37, "level2/053": 2 ** 37,
    "level2/059": 2 ** 37, "level2/063": 2 ** 36, "level2/075": 2 ** 36, "level2/081": 2 ** 36, "level2/095": 2 ** 36,
    "level2/097": 2 ** 36, "level2/099": 2 ** 36,
    "level3/001": 128 * 16384 * (2 * 16384 + 8192), "level3/003": 1024 * 1024 * (2 * 8192 + 15 * 1024),
}


def tiny(text):
    """The task with the dims of the comment `# tiny: {…}` behind its own."""
    small, n = re.subn(r"^dims: \{.*?\} +# tiny: (\{.*\})$", r"dims: \1", text, flags=re.M)
    if n != 1:
        raise ValueError("a task here says its tiny dims once, as `dims: {M: 4096}    # tiny: {M: 5}`")
    return small


def multiply_adds(graph):
    """Of the matmuls in graph text with known shapes."""
    shapes, total = {}, 0
    for name, shape in re.findall(r"%(\w+) (?:=.*)?: f32\[([\d, ]*)\]", graph):
        shapes[name] = [int(d) for d in shape.split(",") if d.strip()]
    for name, left, flags in re.findall(r"%(\w+) = matmul\(%(\w+), %\w+([^)]*)\)", graph):
        n = shapes[left][-2 if "trans_a=1" in flags else -1]
        for d in shapes[name]:
            n *= d
        total += n
    return total


class KernelBench(unittest.TestCase):
    def setUp(self):
        self.cwd = support.folder()
        self.addCleanup(shutil.rmtree, self.cwd)

    def pawl(self, *arguments):
        done = support.pawl(*arguments, cwd=self.cwd, timeout=280)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def small(self, path):
        with open(path, encoding="utf-8") as file:
            text = tiny(file.read())
        return support.write(os.path.join(self.cwd, "-".join(path.split(os.sep)[-2:])), text)

    def test_published_sizes(self):
        found = {}
        for path in FILES:
            graph = self.pawl("opt", path, "--no-pass", "rules", "--no-pass", "split_matmul")
            found["/".join(path.split(os.sep)[-2:])[:10]] = multiply_adds(graph)
        self.assertEqual(found, PUBLISHED)

    def test_each_on_the_cpu(self):
        rows = json.loads(self.pawl("verify", *map(self.small, FILES), "-d", "cpu", "--format=json"))
        self.assertEqual(len(rows), len(PUBLISHED))
        for row in rows:
            self.assertTrue(row["pass"], row)
            self.assertEqual(row["checked"], row["elements"], row)

    def test_what_the_rules_leave(self):
        """The mean of a linear layer is one sum over each row of its input, and batch norm one scale and one shift."""
        graph = {n: self.pawl("opt", *glob.glob(os.path.join(support.SOURCE, f"tasks/kernelbench/level2/{n}_*.yaml")))
                 for n in ("033", "051")}
        self.assertNotRegex(graph["051"], r"matmul\(|log\(")
        self.assertEqual(graph["051"].count("reduce_sum"), 3)           # of the weights, of the biases, and of each row
        wide = [line for line in graph["033"].splitlines() if line.endswith("f32[1024, 8192]") and "expand(" not in line]
        self.assertEqual([re.search(r"= (\w+)\(", line)[1] for line in wide], ["matmul", "mul", "add"])


if __name__ == "__main__":
    support.require_pawl()
    unittest.main(verbosity=2)
