"""Renders a task as a PyTorch module, from its statements before any pass, in the functions a user of PyTorch would write.

    python -m pawl.render tasks/qwen3/mlp.yaml --workload prefill_512      # prints the module's source

`load` asks the command line for the statements (`pawl inspect TASK --statements`), `source` writes Python, `module` makes an
nn.Module that holds the weights Pawl draws, `inputs` the input tensors. torch is imported only by the last two.
"""
import argparse
import json
import keyword
import re
import subprocess
import sys
from dataclasses import dataclass, field

from . import capi
from .torch_ops import HELPERS, Call, Missing, literal, torch_dtype, write_call


class Unsupported(Exception):
    """What the renderer cannot write; one line a reason."""


@dataclass
class Declared:
    """An input or param under the workload."""
    name: str
    dtype: str
    shape: tuple
    dist: str = "normal(0, 1)"
    mutable: bool = False
    file: str = None

    def bytes(self):
        n = capi.BYTES[self.dtype]
        for d in self.shape:
            n *= d
        return n


@dataclass
class Program:
    task: str
    workload: str
    seed: int
    dims: dict
    inputs: list
    params: list
    statements: list
    outputs: list
    numerics: dict = field(default_factory=dict)
    types: dict = field(default_factory=dict)      # value name -> (dtype, shape), where known

    def bytes(self):
        """Inputs, params and outputs once: what any implementation has to move."""
        total = sum(d.bytes() for d in self.inputs + self.params)
        for name in self.outputs:
            if name in self.types:
                total += Declared(name, *self.types[name]).bytes()
        return total


# ---- reading (the JSON is described in ir/import/task.h) ---------------------------------------------------------------
def _declared(rows):
    out = []
    for r in rows:
        loose = [d for d in r["shape"] if not isinstance(d, int)]
        if loose:
            raise Unsupported(f"%{r['name']} has the dim {loose[0]}; name a workload")
        d = r.get("dist") or {"kind": "normal", "a": 0, "b": 1}
        dist = f"{d['kind']}({d['a']!r})" if d["kind"] in ("constant", "steps") else f"{d['kind']}({d['a']!r}, {d['b']!r})"
        out.append(Declared(r["name"], r["dtype"], tuple(r["shape"]), dist, bool(r.get("mutable")), r.get("file")))
    return out


def _type(t):
    return (t["dtype"], tuple(t["shape"])) if t else None


def read(text):
    """A Program from the JSON of `pawl inspect --statements`."""
    j = json.loads(text)
    dims = {k: v for k, v in j["dims"].items() if isinstance(v, int)}
    p = Program(j["task"], j.get("workload"), int(j.get("seed") or 0), dims, _declared(j["inputs"]), _declared(j["params"]),
                j["statements"], j["outputs"], j.get("numerics") or {})
    p.types = {d.name: (d.dtype, d.shape) for d in p.inputs + p.params}
    for s in p.statements:
        p.types.update({name: _type(t) for name, t in zip(s["out"], s["types"]) if t})
    return p


def load(task, workload=None, program=None):
    """The task's statements under a workload, through the command line."""
    command = [program or capi.program(), "inspect", task, "--statements", "--format=json"]
    if workload:
        command += ["--workload", workload]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Unsupported(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr.strip()}")
    return read(done.stdout)


# ---- writing ----------------------------------------------------------------------------------------------------------
def _identifier(name, taken):
    """A Python name for a value; never that of anything the module uses."""
    n = re.sub(r"\W", "_", name)
    n = "v" + n if not n or n[0].isdigit() else n
    while n in taken or keyword.iskeyword(n) or n in ("torch", "F", "nn", "WIDE", "self", "device", "float", "slice"):
        n += "_"
    taken.add(n)
    return n


class _Writer:
    def __init__(self, program, oracle):
        self.p, self.oracle = program, oracle
        taken = set(HELPERS)
        self.names = {d.name: _identifier(d.name, taken) for d in program.inputs}
        self.fields = {d.name: _identifier(d.name, set(dir(object)) | {"training", "forward", "weights"}) for d in program.params}
        self.names.update({n: "self." + f for n, f in self.fields.items()})
        self.taken, self.lines, self.missing = taken, [], []

    def attribute(self, v):
        """An attribute's value as a Python value; dtype names stay names."""
        if isinstance(v, list):
            return [self.attribute(x) for x in v]
        if isinstance(v, str) and v in ("inf", "-inf", "nan"):
            return float(v)
        return v

    def operand(self, a):
        """(source, is it a number, type where known) of a value, a number or a nested call."""
        if "call" in a:
            return self.call(a), False, None
        if "value" in a:
            if a["value"] not in self.names:
                raise Missing(f"%{a['value']} is not defined")
            return self.names[a["value"]], False, self.p.types.get(a["value"])
        number = self.attribute(a["number"])
        if not isinstance(number, (int, float)):
            raise Missing(f"the operand {json.dumps(number)} is no number under the workload")
        return literal(number), True, None

    def call(self, c):
        operands = [self.operand(a) for a in c["args"]]
        attrs = {k: self.attribute(v) for k, v in c["attrs"].items()}
        return write_call(Call(c["call"], [o[0] for o in operands], [o[1] for o in operands], attrs, [o[2] for o in operands],
                               self.oracle))

    def statement(self, s):
        try:
            text = self.operand(s)[0]
        except Missing as e:
            self.missing.append(f"line {s['line']}: %{', %'.join(s['out'])}: {e}")
            text = "None"
        out = []
        for n in s["out"]:
            self.names[n] = _identifier(n, self.taken)
            out.append(self.names[n])
        self.lines.append(f"{', '.join(out)} = {_unwrap(text)}")


def _unwrap(text):
    """Without the outermost parentheses, where they enclose everything."""
    if not text.startswith("("):
        return text
    depth = 0
    for i, c in enumerate(text):
        depth += (c == "(") - (c == ")")
        if depth == 0:
            return text[1:-1] if i == len(text) - 1 and "," not in text[1:-1].split("(")[0] else text
    return text


def source(program, oracle=False):
    """Python source of `class Rendered(nn.Module)`. Unsupported names every statement that has no PyTorch form."""
    w = _Writer(program, oracle)
    for s in program.statements:
        w.statement(s)
    outputs = []
    for o in program.outputs:
        if o in w.names:
            outputs.append(w.names[o])
        else:
            w.missing.append(f"the output %{o} is not defined")
    if w.missing:
        raise Unsupported(f"{program.task} cannot be written in PyTorch:\n  " + "\n  ".join(w.missing))
    body = "\n".join(w.lines)
    lines = ["import torch", "import torch.nn.functional as F", "from torch import nn", "",
             f"WIDE = {torch_dtype('f32', oracle)}", ""]
    used = [k for k in HELPERS if re.search(rf"\b{k}\(", body)]
    for helper in used:
        lines += [HELPERS[helper].rstrip("\n"), ""]
    lines += ["", "class Rendered(nn.Module):",
              f'    """{program.task}, rendered from its graph before any pass{" as the fp64 oracle" if oracle else ""}."""', "",
              "    def __init__(self, weights):", "        super().__init__()"]
    for d in program.params:
        if d.dtype in ("f64", "f32", "f16", "bf16"):
            lines.append(f'        self.{w.fields[d.name]} = nn.Parameter(weights["{d.name}"], requires_grad=False)')
        else:
            lines.append(f'        self.register_buffer("{w.fields[d.name]}", weights["{d.name}"])')
    lines += ["", f"    def forward(self{''.join(', ' + w.names[d.name] for d in program.inputs)}):"]
    if re.search(r"\bdevice=device\b", body):
        first = w.names[program.inputs[0].name] if program.inputs else f"self.{next(iter(w.fields.values()))}"
        lines.append(f"        device = {first}.device")
    lines += ["        " + line for line in w.lines]
    lines.append("        return " + (outputs[0] if len(outputs) == 1 else ", ".join(outputs)))
    return "\n".join(lines) + "\n"


# ---- torch side -------------------------------------------------------------------------------------------------------
def tensor(declared, seed, device="cpu"):
    """The tensor that Pawl draws for an input or param."""
    import torch
    if declared.file:
        raise Unsupported(f"%{declared.name} comes from {declared.file}; only seeded tensors are compared")
    t = torch.empty(declared.shape, dtype=getattr(torch, capi.TORCH_NAMES[declared.dtype]))
    if t.numel():
        capi.fill(t, seed, declared.name, declared.dist)
    return t.to(device)


def weights(program, device="cpu"):
    return {d.name: tensor(d, program.seed, device) for d in program.params}


def inputs(program, device="cpu"):
    return [tensor(d, program.seed, device) for d in program.inputs]


def module(program, given, oracle=False):
    """An nn.Module in eval mode over these weights (by name); the oracle's are widened to float64."""
    import torch
    text = source(program, oracle)
    scope = {"__name__": f"pawl_rendered_{re.sub(r'[^0-9a-zA-Z]', '_', program.task)}"}
    # linecache lets dynamo and tracebacks see the generated source
    import linecache
    name = f"<pawl:{program.task}{':oracle' if oracle else ''}>"
    linecache.cache[name] = (len(text), None, text.splitlines(True), name)
    exec(compile(text, name, "exec"), scope)
    if oracle:
        given = {k: v.to(torch.float64) if v.is_floating_point() else v for k, v in given.items()}
    return scope["Rendered"](given).eval()


def main(argv=None):
    a = argparse.ArgumentParser(prog="python -m pawl.render", description=__doc__.split("\n\n")[0])
    a.add_argument("task", help="a task's YAML file")
    a.add_argument("--workload", "-w", help="a workload of the task, or dims as in B=1,S=512")
    a.add_argument("--oracle", action="store_true", help="the float64 form that errors are measured against")
    o = a.parse_args(argv)
    try:
        print(source(load(o.task, o.workload), o.oracle), end="")
    except Unsupported as e:
        print(f"pawl.render: {e}", file=sys.stderr)
        return 3
    except OSError as e:
        print(f"pawl.render: {e}", file=sys.stderr)
        return 7
    return 0


if __name__ == "__main__":
    sys.exit(main())
