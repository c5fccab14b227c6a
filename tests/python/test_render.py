"""The renderer without PyTorch: every op and composite has a row, and the four shapes of expression come out as Python."""
import json
import os
import re
import sys
import unittest

ROOT = os.environ.get("SOURCE_DIR") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "python"))
from pawl import render, torch_ops  # noqa: E402


def text_of(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def has_row(name, arity):
    return (name, arity) in torch_ops.ROWS or (name, -1) in torch_ops.ROWS


def composites():
    """(name, number of operands, attribute names) of every public function of functions.graph."""
    for name, inside in re.findall(r"^func ([a-z]\w*)\((.*?)\)\s*\{", text_of("ir/functions.graph"), re.M):
        while re.search(r"\([^()]*\)", inside):
            inside = re.sub(r"\([^()]*\)", "", inside)
        parts = [p.strip() for p in inside.split(",") if p.strip()]
        yield name, sum(p.startswith("%") for p in parts), [p.split("=")[0].strip() for p in parts if not p.startswith("%")]


def program(statements, inputs="x", params="", outputs=("y",), shape=(2, 3, 4)):
    declare = lambda names, s: [{"name": n, "dtype": "bf16", "shape": list(s), "mutable": False,  # noqa: E731
                                 "dist": {"kind": "normal", "a": 0, "b": 1}} for n in names.split()]
    return render.read(json.dumps({
        "task": "t/x", "seed": 0, "dims": {"B": 2}, "workload": "w", "inputs": declare(inputs, shape),
        "params": declare(params, shape[-1:]), "statements": statements, "outputs": list(outputs)}))


def statement(out, expression, line=1):
    return {"out": out.split(), "types": [None] * len(out.split()), "line": line, **expression}


def call(name, *args, **attrs):
    return {"call": name, "composite": False, "attrs": attrs,
            "args": [{"value": a} if isinstance(a, str) else a if isinstance(a, dict) else {"number": a} for a in args]}


class Rows(unittest.TestCase):
    def test_every_op(self):
        sources = {"input", "param", "tensor"}
        of_passes = {"split_matmul"}                    # no task has it
        rows = re.findall(r"^OP\(\w+,\s*(\w+),\s*\w+,\s*(-?\d+)", text_of("ir/ops.def"), re.M)
        self.assertGreater(len(rows), 80)
        missing = [n for n, arity in rows if n not in sources | of_passes and not has_row(n, int(arity))]
        self.assertEqual(missing, [])

    def test_every_composite(self):
        rows = list(composites())
        self.assertGreater(len(rows), 60)
        self.assertEqual([f"{n} of {k}" for n, k, _ in rows if not has_row(n, k)], [])

    def test_attributes_of_composites(self):
        """A row takes each attribute that the composite declares, and what it writes is Python."""
        for name, operands, keys in composites():
            attrs = {k: [1] if k in ("axes", "shape") else 0 if k == "causal" else 1 for k in keys}
            c = torch_ops.Call(name, ["x"] * operands, [False] * operands, attrs, [None] * operands, False)
            try:
                compile(torch_ops.write_call(c), name, "eval")
            except torch_ops.Missing as e:
                self.fail(f"{name}: {e}")


class Source(unittest.TestCase):
    def source(self, statements, **how):
        text = render.source(program(statements, **how))
        compile(text, "rendered", "exec")
        return text

    def test_nested_calls_and_numbers(self):
        text = self.source([statement("h", call("mul", call("silu", "x"), 2.0)), statement("y", call("sub", "h", -1.5))])
        self.assertIn("h = F.silu(x) * 2.0", text)
        self.assertIn("y = h - (-1.5)", text)
        self.assertIn("return y", text)

    def test_norm_and_rope_as_in_transformers(self):
        text = self.source([statement("h", call("rms_norm_rounded", "x", "w", n=1, eps=1e-6)),
                            statement("y", call("rope", "h", "x", "x"))], params="w")
        self.assertIn("h = qwen3_rms_norm(x, self.w, 1e-06)", text)
        self.assertIn("return weight * hidden.to(input_dtype)", text)
        self.assertIn("y = (h * x) + (rotate_half(h) * x)", text)
        self.assertIn('self.w = nn.Parameter(weights["w"], requires_grad=False)', text)

    def test_oracle_is_all_float64(self):
        p = program([statement("y", call("cast", call("cast", "x", dtype="f32"), dtype="bf16"))])
        text = render.source(p, oracle=True)
        self.assertNotRegex(text, r"torch\.(float32|bfloat16|float16)")
        self.assertIn("WIDE = torch.float64", text)
        self.assertIn(".to(torch.bfloat16)", render.source(p))

    def test_several_outputs(self):
        text = self.source([statement("a b", call("split2", "x", axis=-1)), statement("y", call("concat", "b", "a", axis=-1))],
                           outputs=("y", "a"))
        self.assertIn("a, b = split_evenly(x, 2, -1)", text)
        self.assertIn("return y, a", text)

    def test_movement(self):
        text = self.source([statement("p", call("permute", "x", perm=[2, 0, 1])),
                            statement("s", call("slice", "p", axis=0, start=1, size=2, step=2)),
                            statement("y", call("pad", "s", axis=1, low=1, high=2, fill="-inf"))])
        self.assertIn("x.permute((2, 0, 1))", text)
        self.assertIn("p[1:4:2]", text)
        self.assertIn('value=float("-inf")', text)

    def test_names_that_python_keeps(self):
        text = self.source([statement("lambda", call("exp", "x")), statement("torch", call("neg", "lambda")),
                            statement("y", call("add", "torch", "lambda"))])
        self.assertIn("lambda_ = torch.exp(x)", text)
        self.assertIn("torch_ = -lambda_", text)

    def test_device_of_new_tensors(self):
        text = self.source([statement("y", call("add", "x", call("iota", shape=[4], axis=0, dtype="f32")))])
        self.assertIn("device = x.device", text)

    def test_what_is_missing_is_named_with_its_line(self):
        with self.assertRaises(render.Unsupported) as e:
            render.source(program([statement("h", call("frobnicate", "x"), 7), statement("y", call("exp", "h"), 8),
                                   statement("z", call("exp2", "x", "x"), 9)]))
        self.assertIn("line 7: %h: frobnicate of 1 operands", str(e.exception))
        self.assertIn("line 9: %z: exp2 of 2 operands (known: of [1])", str(e.exception))
        self.assertNotIn("line 8", str(e.exception))


class Reading(unittest.TestCase):
    def test_bytes(self):
        p = program([{"out": ["y"], "types": [{"dtype": "f32", "shape": [2, 3]}], "line": 1, **call("exp", "x")}], params="w")
        self.assertEqual(p.bytes(), 2 * 24 + 2 * 4 + 4 * 6)

    def test_symbols_need_a_workload(self):
        with self.assertRaises(render.Unsupported):
            program([], shape=("B", 3))


if __name__ == "__main__":
    unittest.main()
