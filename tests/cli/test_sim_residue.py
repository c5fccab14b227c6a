"""`pawl sim --domain residue`: a kernel that is its task's algebra, and one whose constant is another."""
import os
import struct

import support

PTX = """.version 8.5
.target sm_90a
.address_size 64
.visible .entry silu(.param .u64 x, .param .u64 y, .param .u32 count)
{
.reg .pred p;
.reg .b32 i, n;
.reg .f32 v, e;
.reg .b64 a, b, at;
ld.param.u64 a, [x];
ld.param.u64 b, [y];
ld.param.u32 n, [count];
mov.u32 i, %tid.x;
setp.ge.u32 p, i, n;
@p bra end;
mul.wide.u32 at, i, 4;
add.u64 a, a, at;
add.u64 b, b, at;
ld.global.f32 v, [a];
CLAMP
mul.f32 e, v, LOG2E;
ex2.approx.f32 e, e;
add.f32 e, e, 0f3F800000;
div.full.f32 e, v, e;
st.global.f32 [b], e;
end:
ret;
}
"""
LAUNCH = """entry: silu
grid: [1]
block: [64]
args:
  - {buffer: x, dtype: f32, shape: [6, 9]}
  - {buffer: y, dtype: f32, shape: [6, 9], init: none}
  - {scalar: i32, value: 54}
"""
TASK = """task: test/silu
about: A gate.
dims: {B: [1, 64]}
inputs:
  x: "f32[B, 9]"
graph: |
  %y = silu(%x)
outputs: [y]
"""


def write(folder, name, text):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        file.write(text)


def simulate(folder, kernel, *more):
    return support.pawl("sim", kernel, "--launch", "launch.yaml", "--domain", "residue", "--reference",
                        "task.yaml", "--check", *more, cwd=folder)


def main():
    support.require_pawl()
    folder = support.folder()
    right = PTX.replace("LOG2E", "0fBFB8AA3B")
    write(folder, "launch.yaml", LAUNCH)
    write(folder, "task.yaml", TASK)
    write(folder, "right.ptx", right.replace("CLAMP\n", ""))
    write(folder, "wrong.ptx", PTX.replace("LOG2E", "0fBFB8AB3B").replace("CLAMP\n", ""))
    write(folder, "clamped.ptx", right.replace("CLAMP", "min.f32 v, v, 0f447A0000;"))

    done = simulate(folder, "right.ptx", "-o", "y=y.npy")
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr, done.stderr
    assert done.stdout.split()[-4:] == ["y", "54", "0", "0"], done.stdout
    with open(os.path.join(folder, "y.npy"), "rb") as file:
        values = struct.unpack("<54f", file.read()[-54 * 4:])
    assert all(-0.3 < v < 65 for v in values), values

    done = simulate(folder, "wrong.ptx")
    assert done.returncode == 1, done.stderr
    assert "'y' is another function" in done.stderr, done.stderr

    done = simulate(folder, "right.ptx", "--ctas", "0")
    assert done.returncode == 2, done.stderr

    done = simulate(folder, "clamped.ptx")                 # right, but only below 1000
    assert done.returncode == 0, done.stderr
    assert "range guard" in done.stderr, done.stderr


main()
