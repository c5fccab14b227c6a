"""Bad input: each case is a command, the exit code and what the message must say. A message names its place, and nothing that
was there before is lost. `python3 test_bad_input.py --show [NAME…]` prints what pawl says.

In a case's arguments {t} is the folder of tests/cli/tasks, and files named in `files` lie in the current folder. BASE is a
good task that cases break: swap("old", "new")."""
import functools
import io
import os
import resource
import shutil
import signal
import struct
import sys
import unittest
import zipfile

import support
from support import npy

BASE = """task: tests/bad
about: A good task, to be broken.
dims: {B: [1, 64], S: [1, 128], H: 48}
inputs:
  x: f32[B, S, H]
  r: f32[B, S, H] ~ uniform(-1, 1)
params:
  g: f32[H] ~ normal(1, 0.1)
graph: |
  %s = add(%x, %r)
  %y = rms_norm(%s, %g, eps=1e-6)
outputs: [s, y]
numerics: fp32
workloads:
  small: {B: 2, S: 3}
  one:   {B: 1, S: 1}
"""


def swap(*pairs):
    text = BASE
    for old, new in zip(pairs[::2], pairs[1::2]):
        assert old in text, old
        text = text.replace(old, new)
    return text


OK, CHECK, INVALID, UNSUPPORTED, DEVICE, INTERNAL, STOPPED, IO = range(8)
CASES = {}


def case(name, arguments, code, *says, files=None, **more):
    """says: substrings of stderr, in any order."""
    assert name not in CASES, name
    CASES[name] = {"arguments": arguments, "code": code, "says": says, "files": files or {}, **more}


def task(name, text, *says, code=INVALID, command="inspect"):
    """A case whose input is a task."""
    case(name, [*command.split(), "bad.yaml"], code, *says, files={"bad.yaml": text})


def graph(name, line, *says, **more):
    """A case whose graph is this line instead of the second one."""
    task(name, swap("%y = rms_norm(%s, %g, eps=1e-6)", line), *says, **more)


# ---- the command line ------------------------------------------------------------------------------
case("unknown command", ["complie"], INVALID, "<command line>:1:6", 'no command "complie"', "compile?")
case("unknown option", ["compile", "--devise", "cpu", "x.yaml"], INVALID, "no option --devise", "--device?")
case("option without value", ["compile", "x.yaml", "--device"], INVALID, "--device needs a value")
case("option that is another's value", ["run", "x.yaml", "--device", "--repeat"], INVALID, "--device needs a value")
case("value for a flag", ["opt", "x.graph", "--timing=yes"], INVALID, "--timing takes no value")
case("bad format", ["doctor", "--format=xml"], INVALID, "--format takes text, json, csv")
case("bad number", ["run", "x.yaml", "--repeat", "many"], INVALID, "--repeat takes an integer", '"many"')
case("number out of range", ["run", "x.yaml", "--repeat", "0"], INVALID, "--repeat takes an integer from 1")
case("bad budget", ["tune", "x.yaml", "--budget=-1"], INVALID, "--budget takes a number")
case("bad emitter", ["compile", "x.yaml", "--emitter", "gcc"], INVALID, "--emitter takes auto, llvm, nvrtc")
case("bad emit", ["compile", "x.yaml", "--emit", "cuda,pt"], INVALID, "--emit takes", '"pt"', "ptx?")
case("too few arguments", ["compile"], INVALID, "needs an argument", "usage: pawl compile TASK")
case("too many arguments", ["opt", "a", "b"], INVALID, "takes one argument", "<command line>:1:12")
case("unknown verb", ["db", "lst"], INVALID, 'cannot "lst"', "did you mean list?")
case("verb with too much", ["db", "path", "x"], INVALID, "takes no further argument")
case("help on nothing", ["help", "fly"], INVALID, 'no command "fly"')
case("unknown shell", ["completion", "fish"], INVALID, 'cannot "fish"')
case("two workloads for run", ["run", "x.yaml", "-w", "a", "-w", "b"], INVALID, "takes one workload")
case("full standard output", ["opt", "{t}/chain.graph"], IO, "cannot write to standard output", stdout="/dev/full")

# ---- files -------------------------------------------------------------------------------------------
case("missing task", ["inspect", "nowhere.yaml"], IO, "nowhere.yaml", "No such file")
case("folder as task", ["inspect", "d.yaml"], IO, "d.yaml", "Is a directory", files={"d.yaml/x": "x"})
case("missing package", ["inspect", "nowhere.pawl"], IO, "nowhere.pawl", "No such file")
case("missing graph", ["opt", "nowhere.graph"], IO, "nowhere.graph", "No such file")
task("empty task", "", "bad.yaml")
task("only a comment", "# nothing\n", "bad.yaml")
task("list as task", "- a\n- b\n", "bad.yaml:1")
task("binary garbage", bytes(range(256)) * 8, "bad.yaml")
task("not UTF-8", BASE.encode().replace(b"broken", b"bro\xff\xfeken"), "bad.yaml")
task("broken YAML", swap("dims: {B: [1, 64]", "dims: {B: [1, 64"), "bad.yaml:")
task("tabs in YAML", swap("  x: f32", "\tx: f32"), "bad.yaml:")
task("two documents", BASE + "---\n" + BASE, "bad.yaml:")
task("alias", swap("uniform(-1, 1)", "uniform(-1, 1)", "[s, y]", "&a [s, y]"), "bad.yaml:")

# ---- tasks -----------------------------------------------------------------------------------------------
task("unknown key", swap("numerics:", "numerix:"), "bad.yaml:13:1", "numerix", "numerics")
task("duplicate key", BASE + "numerics: bf16\n", "bad.yaml:17", "numerics")
task("no name", swap("task: tests/bad\n", ""), "task")
task("no graph", BASE.replace("graph: |\n  %s = add(%x, %r)\n  %y = rms_norm(%s, %g, eps=1e-6)\n", ""), "graph")
task("no outputs", swap("outputs: [s, y]\n", ""), "outputs")
task("no inputs", swap("inputs:\n  x: f32[B, S, H]\n  r: f32[B, S, H] ~ uniform(-1, 1)\n", ""), "bad.yaml:")
task("unknown numerics", swap("numerics: fp32", "numerics: fp33"), "bad.yaml:13:11", "fp33")
task("unknown distribution", swap("uniform(-1, 1)", "unifrom(-1, 1)"), "bad.yaml:6", "unifrom")
task("distribution with too much", swap("uniform(-1, 1)", "uniform(-1, 1, 2)"), "bad.yaml:6")
task("unknown dtype", swap("x: f32[", "x: f33["), "bad.yaml:5", "f33")
task("unclosed shape", swap("x: f32[B, S, H]", "x: 'f32[B, S, H'"), "bad.yaml:5")
task("unknown symbol in a shape", swap("x: f32[B, S, H]", "x: f32[B, Q, H]"), "bad.yaml:5", "Q")
task("nine dims", swap("x: f32[B, S, H]", "x: f32[B, S, H, 1, 1, 1, 1, 1, 1]"), "bad.yaml:5")
task("negative dim", swap("x: f32[B, S, H]", "x: f32[B, -3, H]"), "bad.yaml:5")
task("empty range", swap("B: [1, 64]", "B: [64, 1]"), "bad.yaml:3")
task("negative range", swap("B: [1, 64]", "B: [-4, 64]"), "bad.yaml:3")
task("range of words", swap("B: [1, 64]", "B: [one, 64]"), "bad.yaml:3", "one")
task("range of three", swap("B: [1, 64]", "B: [1, 2, 3]"), "bad.yaml:3")
task("dim beyond int64", swap("H: 48", "H: 99999999999999999999"), "bad.yaml:3")
task("huge dims", swap("H: 48", "H: 4611686018427387904"), "bad.yaml")
task("name of an input twice", swap("  r: f32", "  x: f32"), "bad.yaml:6", "x")
task("input and param of one name", swap("  g: f32[H]", "  x: f32[H]"), "x")
task("output that is not there", swap("[s, y]", "[s, z]"), "bad.yaml:12", "z")
task("output twice", swap("[s, y]", "[y, y]"), "bad.yaml:12", "y")

# ---- graphs ------------------------------------------------------------------------------------------------
graph("unknown op", "%y = rms_nrom(%s, %g)", "bad.yaml:11:8", "rms_nrom", "rms_norm")
graph("too few operands", "%y = mul(%s)", "bad.yaml:11:8", "mul")
graph("too many operands", "%y = exp(%s, %g)", "bad.yaml:11:16", "exp")
graph("shape clash", "%y = add(%s, reshape(%g, shape=[6, 8]))", "bad.yaml:11")
graph("dtype clash", "%y = bitwise_and(%s, %s)", "bad.yaml:11:8", "bitwise_and")
graph("undefined name", "%y = add(%s, %q)", "bad.yaml:11", "%q")
graph("cyclic names", "%y = add(%y2, %s)\n  %y2 = exp(%y)", "bad.yaml:11", "y2")
graph("name of itself", "%y = add(%y, %s)", "bad.yaml:11", "y")
graph("name defined twice", "%s = exp(%s)\n  %y = exp(%s)", "bad.yaml:11", "s")
graph("axis out of range", "%y = sum(%s, axes=[3])", "bad.yaml:11", "axis")
graph("slice out of range", "%y = slice(%s, axis=2, start=40, size=10)", "bad.yaml:11")
graph("reshape of another size", "%y = reshape(%s, shape=[B, S, 49])", "bad.yaml:11")
graph("permutation with a hole", "%y = permute(%s, perm=[0, 0, 2])", "bad.yaml:11")
graph("matmul of clashing sizes", "%y = matmul(%s, reshape(%g, shape=[6, 8]))", "bad.yaml:11")
graph("concat of clashing sizes", "%y = concat(%s, %g, axis=0)", "bad.yaml:11")
graph("gather by floats", "%y = gather(%s, %s, axis=0)", "bad.yaml:11")
graph("unknown attribute", "%y = rms_norm(%s, %g, epsilon=1e-6)", "bad.yaml:11", "epsilon")
graph("missing attribute", "%y = reshape(%s)", "bad.yaml:11", "shape")
graph("attribute of the wrong kind", "%y = sum(%s, axes=fast)", "bad.yaml:11")
graph("wrong type annotation", "%y = exp(%s) : f32[B, S, 49]", "bad.yaml:11")
graph("syntax error", "%y = add(%s, %r", "bad.yaml:")
graph("stray character", "%y = exp(%s) $", "bad.yaml:11", "$")
graph("number beyond int64", "%y = slice(%s, axis=2, start=99999999999999999999, size=1)", "bad.yaml:11")

# ---- workloads and devices -----------------------------------------------------------------------------------
task("workload without a symbol", swap("small: {B: 2, S: 3}", "small: {B: 2}"), "bad.yaml:15", "S")
task("workload with a strange symbol", swap("small: {B: 2, S: 3}", "small: {B: 2, S: 3, T: 4}"), "bad.yaml:15", "T")
task("workload out of range", swap("small: {B: 2, S: 3}", "small: {B: 2, S: 300}"), "bad.yaml:15", "300")
case("unknown workload", ["explain", "{t}/norm.yaml", "-w", "smal", "-d", "cpu"], INVALID, "smal", "small")
case("dims without a symbol", ["explain", "{t}/norm.yaml", "-w", "B=1", "-d", "cpu"], INVALID, "S")
case("dims that are no numbers", ["explain", "{t}/norm.yaml", "-w", "B=1,S=x", "-d", "cpu"], INVALID, "S=x")
case("dims out of range", ["explain", "{t}/norm.yaml", "-w", "B=65,S=1", "-d", "cpu"], INVALID, "65")
case("negative dims", ["explain", "{t}/norm.yaml", "-w", "B=-1,S=1", "-d", "cpu"], INVALID, "-1")
case("unknown device", ["explain", "{t}/norm.yaml", "-d", "gpu"], INVALID, "gpu")
case("unknown GPU architecture", ["explain", "{t}/norm.yaml", "-d", "sm_12345"], INVALID, "sm_12345", "sm_90a")
case("unknown CPU architecture", ["explain", "{t}/norm.yaml", "-d", "x86-64-v9"], INVALID, "x86-64-v9", "x86-64-v3")
case("device that is not here", ["run", "{t}/norm.yaml", "-d", "sm_90a"], DEVICE, "sm_90a is not a device of this machine")
case("driver that is not here", ["run", "{t}/norm.yaml", "-d", "cuda"], DEVICE, "libcuda", without_driver=True)
case("package for another device", ["run", "good.pawl", "-d", "cuda"], UNSUPPORTED, "compiled for cpu only")
case("package without a driver", ["run", "gpu.pawl"], DEVICE, "libcuda", without_driver=True)
case("package without a driver, named", ["run", "gpu.pawl", "-d", "cuda"], DEVICE, "libcuda", without_driver=True)
case("device number that is not here", ["run", "{t}/norm.yaml", "-d", "cuda:99"], DEVICE, "99", without_driver=True)
case("bad device number", ["run", "{t}/norm.yaml", "-d", "cuda:one"], INVALID, "cuda:one")

# ---- compiling ---------------------------------------------------------------------------------------------------
case("output into nowhere", ["compile", "{t}/norm.yaml", "-d", "cpu", "-o", "no/where.pawl"], IO, "no/where.pawl")
case("output over a folder", ["compile", "{t}/norm.yaml", "-d", "cpu", "-o", "d"], IO, "d", files={"d/x": "x"})
case("output to a full disk", ["compile", "{t}/linear.yaml", "-d", "cpu", "-o", "good.pawl"], IO, "good.pawl",
     small_files=2000, keeps="good.pawl")
case("emit into a file", ["compile", "{t}/norm.yaml", "-d", "cpu", "--emit", "plan", "--emit-dir", "f"], IO, "f", files={"f": "x"})
case("unknown pass", ["opt", "{t}/chain.graph", "--no-pass", "flod"], INVALID, 'no pass "flod"', "fold?")
case("unknown pass to dump", ["opt", "{t}/chain.graph", "--dump-after", "nothing"], INVALID, 'no pass "nothing"')
case("unknown rule", ["opt", "{t}/chain.graph", "--no-rule", "no_such_rule"], INVALID, "no_such_rule")
case("rules that are not there", ["opt", "{t}/chain.graph", "--rules", "nowhere"], IO, "nowhere")
case("rules that are wrong", ["opt", "{t}/chain.graph", "--rules", "r"], INVALID, "r/bad.yaml:", files={"r/bad.yaml": "rule: x\nmatch: |\n  %y = add(%a\n"})
case("pick of nothing", ["explain", "{t}/norm.yaml", "-d", "cpu", "--pick", "stack@1=1"], INVALID, "no such choice", "pawl explain")
case("kind of nothing", ["explain", "{t}/norm.yaml", "-d", "cpu", "--no-kind", "rows"], INVALID, 'kernels "rows"', "known: row, ")
case("no kind left", ["explain", "{t}/norm.yaml", "-d", "cpu", "--no-kind", "row", "--no-kind", "pointwise"], UNSUPPORTED, "no kernel kind takes")
case("dump into a file", ["opt", "{t}/chain.graph", "--dump-dir", "f"], IO, "f", files={"f": "x"})

case("no memory for an input", ["run", "{t}/large.yaml", "-d", "cpu", "--dims", "N=4294967296"], DEVICE,
     "out of memory: x needs 17.2 GB", memory=4 << 30)
case("no memory for an output", ["run", "{t}/large.yaml", "-d", "cpu", "--dims", "N=250000000"], DEVICE,
     "out of memory: an output needs 1.0 GB", memory=7 << 28)
case("no memory to verify", ["verify", "{t}/large.yaml", "-d", "cpu", "-w", "N=17179869184"], DEVICE,
     "out of memory: x needs 68.7 GB", memory=4 << 30)

# ---- graph text ------------------------------------------------------------------------------------------------------
case("empty graph", ["opt", "-"], INVALID, "<stdin>")
case("zero bytes in a graph", ["opt", "-"], INVALID, "<stdin>", "zero byte", stdin=b"graph g {\0}")
case("graph cut off", ["opt", "-"], INVALID, "<stdin>:", stdin=b"graph g {\n  input %x : f32[2]\n  %y = exp(%x)\n")
case("graph without outputs", ["opt", "-"], INVALID, "<stdin>", stdin=b"graph g {\n  input %x : f32[2]\n  %y = exp(%x)\n}\n")
case("two graphs", ["opt", "-"], INVALID, "<stdin>:", stdin=b"graph g {\n input %x : f32[2]\n return %x\n}\n" * 2)
case("nested too deep", ["opt", "-"], INVALID, "<stdin>:", stdin=b"graph g {\n input %x : f32[2]\n return " + b"exp(" * 100000 + b"\n}\n")

# ---- packages ----------------------------------------------------------------------------------------------------------
case("empty package", ["run", "e.pawl"], INVALID, "e.pawl", files={"e.pawl": b""})
case("garbage as package", ["run", "e.pawl"], INVALID, "e.pawl", files={"e.pawl": bytes(range(256)) * 20})
case("text as package", ["inspect", "e.txt"], INVALID, "e.txt", files={"e.txt": "hello"})
case("folder as package", ["run", "e.pawl"], IO, "e.pawl", "Is a directory", files={"e.pawl/x": "x"})
case("truncated package", ["run", "good.pawl"], INVALID, "good.pawl", spoil=lambda b: b[:len(b) // 2])
case("package without its end", ["run", "good.pawl"], INVALID, "good.pawl", spoil=lambda b: b[:-1])
case("package without its beginning", ["run", "good.pawl"], INVALID, "good.pawl", spoil=lambda b: b[64:])
case("corrupt manifest", ["run", "good.pawl"], INVALID, "manifest.json", spoil=lambda b: b.replace(b'"format"', b'"fromat"', 1))
case("corrupt plan", ["run", "good.pawl"], INVALID, "plans/0.json", spoil=lambda b: b.replace(b'"steps"', b'"stops"', 1))
case("corrupt weights", ["inspect", "good.pawl", "--check"], INVALID, "weights.safetensors",
     spoil=lambda b: flip_last(b, "weights.safetensors"))
case("unknown workload of a package", ["run", "good.pawl", "-w", "big", "-d", "cpu"], INVALID, 'no workload "big"', "small")
case("package with bad dims", ["run", "good.pawl", "--dims", "B=2;S=3", "-d", "cpu"], INVALID, "B=2;S=3")
case("package with half the dims", ["run", "good.pawl", "--dims", "B=2", "-d", "cpu"], INVALID, "shape of input")
case("package beyond its range", ["run", "good.pawl", "--dims", "B=65,S=3", "-d", "cpu"], INVALID, "65")
case("package of another task", ["verify", "{t}/linear.yaml", "--package", "good.pawl", "-d", "cpu", "-w", "one"], INVALID, "good.pawl")
case("plans of a task", ["inspect", "{t}/norm.yaml", "--plans"], INVALID, "is a task, not a package")
case("wrong results", ["verify", "wrong.yaml", "--package", "good.pawl", "-d", "cpu", "-w", "small"], CHECK, "output y is wrong",
     files={"wrong.yaml": swap("eps=1e-6", "eps=0.5")})

# ---- inputs and outputs ----------------------------------------------------------------------------------------------------
RUN = ["run", "good.pawl", "-d", "cpu", "-w", "small"]
GOOD_NPY = npy([0.5] * 2 * 3 * 48, (2, 3, 48))


def x_file(name, content, *says, code=INVALID):
    case(name, [*RUN, "--input", "x=@x.npy"], code, *says, files={"x.npy": content})


case("missing npy", [*RUN, "--input", "x=@x.npy"], IO, "x.npy", "No such file")
case("folder as npy", [*RUN, "--input", "x=@x.npy"], IO, "x.npy", "Is a directory", files={"x.npy/y": "y"})
x_file("empty npy", b"", "x.npy")
x_file("garbage as npy", b"not an array at all, but text", "x.npy")
x_file("npy without data", GOOD_NPY[:120], "x.npy")
x_file("npy cut in its header", GOOD_NPY[:30], "x.npy")
x_file("npy cut in its data", GOOD_NPY[:-4], "x.npy")
x_file("npy of a newer version", GOOD_NPY[:6] + b"\x09" + GOOD_NPY[7:], "x.npy")
x_file("npy of objects", npy([0.0], (1,), descr="|O"), "x.npy", "O")
x_file("big-endian npy", npy([0.5] * 288, (2, 3, 48), descr=">f4"), "x.npy")
x_file("npy of another dtype", npy([1] * 288, (2, 3, 48), descr="<i4", code="i"), "x")
x_file("npy of another shape", npy([0.5] * 240, (2, 3, 40)), "x")
x_file("npy of another rank", npy([0.5] * 288, (288,)), "x")
x_file("npy of a huge shape", npy([0.5], (1 << 40, 1 << 40)), "x.npy")
x_file("npy of a negative shape", npy([0.5], (-1,)), "x.npy")
x_file("inputs that disagree", npy([0.5] * 96, (2, 1, 48)), "S")
case("unknown input", [*RUN, "--input", "z=@x.npy"], INVALID, 'no input "z"', "x, r")
case("input without a name", [*RUN, "--input", "@x.npy"], INVALID, "NAME=@FILE.npy")
case("input of an unknown distribution", [*RUN, "--input", "x=narmal(0, 1)"], INVALID, "narmal")
case("unknown output", [*RUN, "--output", "z=z.npy"], INVALID, 'no output "z"')
case("output into a file", [*RUN, "--output", "f"], IO, "f", files={"f": "x"})
case("output file into nowhere", [*RUN, "--output", "y=no/where.npy"], IO, "no/where.npy")
case("outputs on a full disk", [*RUN, "--output", "y=y.npy"], IO, "y.npy", small_files=200)

# ---- the database ---------------------------------------------------------------------------------------------------------------
case("folder as database", ["db", "list", "--db", "d"], IO, "d", files={"d/x": "x"})
case("garbage as database", ["db", "list", "--db", "g.sqlite"], IO, "g.sqlite", files={"g.sqlite": b"garbage " * 500})
case("database in nowhere", ["db", "import", "e.json", "--db", "/proc/none/x.sqlite"], IO, "/proc/none",
     files={"e.json": '{"pawl_tuning": 1}'})
case("show without a number", ["db", "show"], INVALID, "needs a problem's number")
case("show of no number", ["db", "show", "xyz"], INVALID, 'not a problem\'s number: "xyz"')
case("show of an unknown problem", ["db", "show", "00ff"], INVALID, "no problem 00000000000000ff")
case("import of nothing", ["db", "import"], INVALID, "needs a file")
case("import of a missing file", ["db", "import", "no.json"], IO, "no.json")
case("import of no JSON", ["db", "import", "e.json"], INVALID, "e.json", files={"e.json": "{"})
case("import of other JSON", ["db", "import", "e.json"], INVALID, "e.json", files={"e.json": '{"a": 1}'})
case("forget of nothing", ["db", "forget"], INVALID, "needs to know what")
case("forget before no date", ["db", "forget", "--before", "yesterday"], INVALID, "takes a date", "yesterday")
case("export into nowhere", ["db", "export", "-o", "no/where.json"], IO, "no/where.json")
case("tuning without a place", ["tune", "{t}/norm.yaml", "-d", "cpu", "-w", "one", "--budget", "1", "--db", "/proc/none/x.sqlite"],
     IO, "/proc/none", "pawl db import")
case("tuning with a broken database", ["tune", "{t}/norm.yaml", "-d", "cpu", "-w", "one", "--budget", "1", "--db", "g.sqlite"],
     IO, "g.sqlite", files={"g.sqlite": b"garbage " * 500}, keeps="g.sqlite")
case("tuning log on a full disk", ["tune", "{t}/norm.yaml", "-d", "cpu", "-w", "one", "--budget", "1", "--log", "/dev/full"],
     IO, "cannot write /dev/full: No space left on device")
case("tuning on a full disk", ["tune", "{t}/norm.yaml", "-d", "cpu", "-w", "one", "--budget", "1", "--db", "t.sqlite"], IO,
     "t.sqlite", small_files=30000)
case("log into nowhere", ["tune", "{t}/norm.yaml", "--log", "no/where"], IO, "no/where")


# ---- running them ----------------------------------------------------------------------------------------------------------------

def flip_last(data, member):
    """The package with a bit of the member's last byte changed."""
    info = zipfile.ZipFile(io.BytesIO(data)).getinfo(member)
    name, extra = struct.unpack("<HH", data[info.header_offset + 26:info.header_offset + 30])
    at = info.header_offset + 30 + name + extra + info.file_size - 1
    return data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1:]


def limits(spec):
    """What the process gets: files of limited size, limited memory."""
    def prepare():
        if "small_files" in spec:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (spec["small_files"],) * 2)
        if "memory" in spec:
            resource.setrlimit(resource.RLIMIT_AS, (spec["memory"],) * 2)
    return prepare


DEVICES = {"good.pawl": "cpu", "gpu.pawl": "sm_90a"}


@functools.lru_cache
def package(name):
    """One good package a device for all cases, compiled when the first one needs it."""
    cwd = support.folder()
    try:
        done = support.pawl("compile", support.task("norm.yaml"), "-d", DEVICES[name], "-o", name, cwd=cwd)
        if done.returncode:
            raise AssertionError("cannot compile the good task: " + done.stderr)
        with open(os.path.join(cwd, name), "rb") as file:
            return file.read()
    finally:
        shutil.rmtree(cwd)


def run_case(spec, cwd):
    for name, content in spec["files"].items():
        support.write(os.path.join(cwd, name), content)
    arguments = [a.replace("{t}", support.TASKS) for a in spec["arguments"]]
    for name in DEVICES:
        if name in arguments:
            data = spec.get("spoil", lambda b: b)(package(name))
            support.write(os.path.join(cwd, name), data)
    env = {"CUDA_VISIBLE_DEVICES": ""} if spec.get("without_driver") else {}
    out = open(spec["stdout"], "wb") if "stdout" in spec else None
    try:
        return support.pawl(*arguments, cwd=cwd, stdin=spec.get("stdin", b""), env=env, prepare=limits(spec), stdout=out)
    finally:
        if out:
            out.close()


def has_gpu():
    return os.path.exists("/dev/nvidiactl")


class BadInput(unittest.TestCase):
    def check(self, spec):
        if spec.get("without_driver") and has_gpu():
            self.skipTest("this machine has a GPU")
        if "memory" in spec and support.SANITIZED:
            self.skipTest("AddressSanitizer needs its shadow memory")
        cwd = support.folder()
        self.addCleanup(shutil.rmtree, cwd)
        before = {}
        done = None
        if "keeps" in spec:
            before = spec["files"].get(spec["keeps"]) or package(spec["keeps"])
        done = run_case(spec, cwd)
        said = f"\nstderr:\n{done.stderr}\nstdout:\n{done.stdout}"
        self.assertEqual(done.returncode, spec["code"], said)
        for text in spec["says"]:
            self.assertIn(text, done.stderr, said)
        self.assertRegex(done.stderr, r"error: \S", said)
        self.assertNotIn("internal error", done.stderr)
        if "keeps" in spec:
            with open(os.path.join(cwd, spec["keeps"]), "rb") as file:
                self.assertEqual(file.read(), before, "the old file was lost")
        left = [f for f in os.listdir(cwd) if ".tmp" in f or f.endswith("~")]
        self.assertEqual(left, [], "files were left behind")


def add_tests():
    for name, spec in CASES.items():
        setattr(BadInput, "test_" + name.replace(" ", "_"), lambda self, spec=spec: self.check(spec))


def show(names):
    for name, spec in CASES.items():
        if names and not any(n in name for n in names):
            continue
        cwd = support.folder()
        done = run_case(spec, cwd)
        good = done.returncode == spec["code"] and all(s in done.stderr for s in spec["says"])
        print(f"=== {name}: {' '.join(spec['arguments'])}\n=== exit {done.returncode}, expected {spec['code']} {spec['says']}"
              f"{'' if good else '   <<<<<<<<'}\n{done.stderr[:1500]}{done.stdout[:300]}")
        shutil.rmtree(cwd)


if __name__ == "__main__":
    support.require_pawl()
    if len(sys.argv) > 1 and sys.argv[1] == "--show":
        show(sys.argv[2:])
        sys.exit()
    add_tests()
    print(f"{len(CASES)} cases")
    unittest.main(verbosity=2)
