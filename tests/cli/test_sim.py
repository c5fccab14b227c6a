"""pawl sim: outputs, counts, the checker, limits, and what it says of bad input."""
import os
import struct
import unittest

import support

PTX = os.path.join(support.HERE, "sim", "saxpy.ptx")
LAUNCH = os.path.join(support.HERE, "sim", "saxpy.yaml")


def text(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


class Sim(unittest.TestCase):
    def setUp(self):
        self.dir = support.folder()

    def sim(self, *arguments, ptx=None, launch=None):
        kernel = support.write(os.path.join(self.dir, "k.ptx"), ptx or text(PTX))
        how = support.write(os.path.join(self.dir, "k.yaml"), launch or text(LAUNCH))
        return support.pawl("sim", kernel, "--launch", how, *arguments, cwd=self.dir)

    def floats(self, name):
        with open(os.path.join(self.dir, name), "rb") as file:
            raw = file.read()
        size = struct.unpack("<H", raw[8:10])[0]
        return struct.unpack("<500f", raw[10 + size:])

    def test_outputs(self):
        done = self.sim("-o", "x=x.npy", "-o", "y=y.npy")
        self.assertEqual(done.returncode, 0, done.stderr)
        single = lambda v: struct.unpack("<f", struct.pack("<f", v))[0]
        for x, y in zip(self.floats("x.npy"), self.floats("y.npy")):
            self.assertEqual(y, single(2.0 * x + 1.0))

    def test_counts(self):
        done = self.sim()
        self.assertRegex(done.stdout, r"float +16 +500")
        self.assertRegex(done.stdout, r"global +2000 +2000")
        self.assertIn("256 instructions of warps", done.stderr)

    def test_chosen_ctas(self):
        done = self.sim("--ctas", "3")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"float +4 +116")

    def test_out_of_bounds(self):
        done = self.sim("--check", launch=text(LAUNCH).replace("value: 500", "value: 510"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("k.ptx:22:5: error: out of bounds: 4-byte load from global memory at byte 2000 of x", done.stderr)
        self.assertIn("10 times", done.stderr)

    def test_not_initialised(self):
        done = self.sim("--check", launch=text(LAUNCH).replace('"normal(0, 1)"', "none"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("k.ptx:22:", done.stderr)

    def test_endless(self):
        done = self.sim("--max-steps", "100000", ptx=text(PTX).replace("@p bra DONE", "LOOP: bra LOOP"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("too many steps", done.stderr)

    def test_missing_instructions_together(self):
        both = text(PTX).replace("fma.rn.f32", "frob.rn.f32").replace("mul.wide.u32", "blend.u32")
        done = self.sim(ptx=both)
        self.assertEqual(done.returncode, 3)
        self.assertIn("frob.rn.f32", done.stderr)
        self.assertIn("blend.u32", done.stderr)

    def test_bad_launches(self):
        for old, new, word in (("grid:", "gird:", "did you mean 'grid'"), ("saxpy", "daxpy", "daxpy"), ("f32", "f31", "f31"),
                               ("[4]", "[-4]", "k.yaml:2:"), ("scalar: i32, value: 500", "scalar: i32", "value")):
            done = self.sim(launch=text(LAUNCH).replace(old, new, 1))
            self.assertEqual(done.returncode, 2, (new, done.stderr))
            self.assertIn(word, done.stderr)

    def test_no_such_file(self):
        done = support.pawl("sim", "absent.ptx", "--launch", LAUNCH, cwd=self.dir)
        self.assertEqual(done.returncode, 7)


if __name__ == "__main__":
    support.require_pawl()
    unittest.main()
