"""tasks/qwen3_moe: at small sizes the experts give what the evaluator gives, on the CPU and on the simulator, and PyTorch's text is there."""
import json
import os
import shutil
import unittest

import support

TASK = os.path.join(support.SOURCE, "tasks/qwen3_moe/experts.yaml")


class Experts(unittest.TestCase):
    def setUp(self):
        self.cwd = support.folder()
        self.addCleanup(shutil.rmtree, self.cwd)
        with open(TASK, encoding="utf-8") as file:
            text = file.read()
        self.assertIn("H: 2048, F: 768, E: 128", text)
        self.task = support.write(os.path.join(self.cwd, "experts.yaml"), text.replace("H: 2048, F: 768, E: 128", "H: 64, F: 24, E: 128"))

    def pawl(self, *arguments):
        done = support.pawl(*arguments, cwd=self.cwd, timeout=280)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_results(self):
        for device, workloads in (("cpu", ("decode_8", "T=1", "T=601")), ("sim", ("decode_8",))):
            rows = json.loads(self.pawl("verify", self.task, "-d", device, "--format=json", *(f"-w{w}" for w in workloads)))
            self.assertEqual(len(rows), len(workloads))
            for row in rows:
                self.assertTrue(row["pass"] and row["checked"] == row["elements"], row)

    def test_explained(self):
        said = self.pawl("explain", TASK, "-d", "sm_90a", "-w", "prefill_4096", "--no-tuned")
        self.assertIn("product 32768x1536x2048 in 128 groups, bf16", said)
        self.assertIn("product 32768x2048x768 in 128 groups, bf16", said)

    def test_as_pytorch(self):
        from pawl import render
        program = render.read(self.pawl("inspect", TASK, "-w", "decode_8", "--statements"))
        text = render.source(program)
        compile(text, "rendered", "exec")
        self.assertIn("grouped_mm(x, self.w_gate_up.mT, ends)", text)
        self.assertIn("torch._grouped_mm(", text)


if __name__ == "__main__":
    support.require_pawl()
    unittest.main(verbosity=2)
