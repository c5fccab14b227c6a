#!/usr/bin/env python3
"""Writes the suite "agreement with silicon": tests/sim/ptx/*.ptx and tests/sim/ptx/suite.def.

    tests/sim/generate.py              writes what has changed
    tests/sim/generate.py --assemble   and assembles every program with ptxas for sm_90a

Every program is an entry `test(in, out, n)` that reads 32-bit words from `in` and writes `words_out`
words to `out`; what it declares beyond that (maps for TMA, a struct by value) the runner passes after n.
The programs are in programs_*.py: tables of instructions, or whole bodies. In a table, a row is one or
more instructions; the first operand of the last one is the result, and its register says what is stored:

    a b c e, d    b32 (words 0..3 of the thread's four), result
    fa fb fc fe, fd   the same words as f32
    ha hb hc, hd  their low halves as b16
    la lb lc le, ld   64-bit tables: the thread's four 64-bit words; da db dc de, dd as f64
    p             a predicate, stored as 0 or 1
    x y z w, fx fy, lx ly lz, dx, hx hy hz, q s    scratch
"""
import importlib
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
PTXAS = os.environ.get("PTXAS", "/usr/local/cuda/bin/ptxas")
PROGRAMS = []

HEAD = """// {what}
// Written by tests/sim/generate.py.
.version {version}
.target {target}
.address_size 64
{module}
.visible .entry test(.param .u64 in, .param .u64 out, .param .u32 n{params}){directives}
{{
    .reg .pred p, q, s, t, u, v;
    .reg .b16 ha, hb, hc, hd, hx, hy, hz;
    .reg .b32 a, b, c, e, d, x, y, z, w, tid, cta, idx, lane, warp;
    .reg .f32 fa, fb, fc, fe, fd, fx, fy;
    .reg .b64 la, lb, lc, le, ld, lx, ly, lz, src, dst, from, to;
    .reg .f64 da, db, dc, de, dd, dx;
    .reg .b32 r<100>;
    .reg .f32 f<100>;
    .reg .b64 m<16>;

    ld.param.u64 src, [in];
    ld.param.u64 dst, [out];
    cvta.to.global.u64 src, src;
    cvta.to.global.u64 dst, dst;
    mov.u32 tid, %tid.x;
    mov.u32 cta, %ctaid.x;
    mov.u32 x, %ntid.x;
    mad.lo.u32 idx, cta, x, tid;
    and.b32 lane, tid, 31;
    shr.u32 warp, tid, 5;
    mul.wide.u32 from, idx, {stride_in};
    mul.wide.u32 to, idx, {stride_out};
    add.u64 from, src, from;
    add.u64 to, dst, to;
"""


def program(name, what, body, *, words_in, words_out, inputs="WORDS", grid=1, block=128, cluster=1, dynamic=0,
            compare="BITS", bound="0", target="sm_80", version="8.0", module="", params="", directives="",
            per_in=4, per_out=1, maps=()):
    """One program; per_in and per_out are the words of a thread in `in` and `out`: [from] and [to] point there."""
    if cluster > 1:
        directives += f"\n.reqnctapercluster {cluster}"
        target = "sm_90a"
    lines = [line.strip() for line in body.strip().splitlines()]
    text = "\n".join(line if line.endswith(":") else "    " + line if line else "" for line in lines)
    assert all(p["name"] != name for p in PROGRAMS), name
    PROGRAMS.append({
        "name": name, "what": what, "maps": maps,
        "text": HEAD.format(what=what, version=version, target=target, module=module.strip("\n"), params=params,
                            directives=directives, stride_in=4 * per_in, stride_out=4 * per_out) +
        text + "\n    ret;\n}\n",
        "row": (name, grid, block, cluster, dynamic, inputs, words_in, words_out, compare, bound)})


STORES = {"d": ("u32", 1), "fd": ("f32", 1), "ld": ("u64", 2), "dd": ("f64", 2), "p": (None, 1), "hd": (None, 1)}


def table(name, what, rows, *, wide=False, block=96, grid=1, **options):
    """Every thread runs every row on its own operands."""
    offset, body = 0, []
    # 64-bit results first, so that they are aligned
    rows = [r.strip() for r in rows.strip().splitlines() if r.strip()] if isinstance(rows, str) else rows
    result = lambda row: row.rstrip("; ").split(";")[-1].split(",")[0].split("|")[0].split()[-1]
    rows = sorted(rows, key=lambda r: -STORES[result(r)][1])
    total = sum(STORES[result(r)][1] for r in rows)
    if any(STORES[result(r)][1] == 2 for r in rows):
        total += total % 2
    if wide:
        body += ["ld.global.v2.u64 {la, lb}, [from];", "ld.global.v2.u64 {lc, le}, [from+16];",
                 "mov.b64 da, la;", "mov.b64 db, lb;", "mov.b64 dc, lc;", "mov.b64 de, le;",
                 "cvt.u32.u64 a, la;", "cvt.u32.u64 b, lb;", "cvt.u32.u64 c, lc;", "cvt.u32.u64 e, le;"]
    else:
        body += ["ld.global.v4.u32 {a, b, c, e}, [from];"]
    body += ["mov.b32 fa, a;", "mov.b32 fb, b;", "mov.b32 fc, c;", "mov.b32 fe, e;",
             "cvt.u16.u32 ha, a;", "cvt.u16.u32 hb, b;", "cvt.u16.u32 hc, c;", ""]
    for row in rows:
        to = result(row)
        body += [part.strip() + ";" for part in row.rstrip("; ").split(";")]
        kind, words = STORES[to]
        if to == "p":
            body += ["selp.u32 d, 1, 0, p;"]
        elif to == "hd":
            body += ["cvt.u32.u16 d, hd;"]
        body += [f"st.global.{kind or 'u32'} [to+{4 * offset}], {to if kind else 'd'};"]
        offset += words
    if offset < total:
        body += [f"st.global.u32 [to+{4 * offset}], 0;"]
    program(name, what, "\n".join(body), words_in=grid * block * (8 if wide else 4), words_out=grid * block * total,
            per_in=8 if wide else 4, per_out=total, block=block, grid=grid, **options)


def write(path, text):
    if not os.path.exists(path) or open(path).read() != text:
        with open(path, "w") as f:
            f.write(text)


def suite_def():
    rows = "".join("PTX(" + ", ".join(str(v) for v in p["row"]) + ")\n" for p in PROGRAMS)
    maps = "".join(f"MAP({p['name']}, {m})\n" for p in PROGRAMS for m in p["maps"])
    return ("/* tests/sim/ptx/suite.def — the programs of the suite; written by tests/sim/generate.py.\n"
            " * PTX: name, CTAs, threads a CTA, CTAs a cluster, bytes of dynamic shared memory, kind of input, words in, words out,\n"
            " *      comparison, bound (where its source is: suite.h).\n"
            " * MAP: program, element type, rank, word of `in` where it begins, dims, strides in bytes, box, element strides,\n"
            " *      swizzle, fill; passed in this order after n. */\n"
            "#ifndef PTX\n#define PTX(...)\n#endif\n#ifndef MAP\n#define MAP(...)\n#endif\n" + rows + maps + "#undef PTX\n#undef MAP\n")


def main():
    sys.path.insert(0, HERE)
    sys.modules["generate"] = sys.modules["__main__"]
    for module in ("arith", "float", "memory", "flow", "warp", "matrix", "async"):
        importlib.import_module("programs_" + module)
    names = {p["name"] + ".ptx" for p in PROGRAMS}
    for old in os.listdir(os.path.join(HERE, "ptx")):
        if old.endswith(".ptx") and old not in names:
            os.remove(os.path.join(HERE, "ptx", old))
    for p in PROGRAMS:
        write(os.path.join(HERE, "ptx", p["name"] + ".ptx"), p["text"])
    write(os.path.join(HERE, "ptx", "suite.def"), suite_def())
    words = sum(p["row"][7] for p in PROGRAMS)
    print(f"{len(PROGRAMS)} programs, {words * 4} bytes of results")
    bad = 0
    if "--assemble" in sys.argv:
        only = [a for a in sys.argv[1:] if not a.startswith("-")]
        for p in PROGRAMS:
            if only and not any(o in p["name"] for o in only):
                continue
            with tempfile.NamedTemporaryFile(suffix=".cubin") as out:
                r = subprocess.run([PTXAS, "-arch=sm_90a", "-O1", os.path.join(HERE, "ptx", p["name"] + ".ptx"), "-o", out.name],
                                   capture_output=True, text=True)
            if r.returncode or r.stderr:
                bad += r.returncode != 0
                print(p["name"], (r.stderr + r.stdout)[:1500])
        print(f"{bad} do not assemble")
    sys.exit(bad != 0)


if __name__ == "__main__":
    main()
