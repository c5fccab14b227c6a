"""What the tests of the command line share: running pawl, writing files, .npy by hand."""
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.environ.get("SOURCE_DIR", os.path.dirname(os.path.dirname(HERE)))
PAWL = os.environ.get("PAWL", os.path.join(SOURCE, "build/dev/pawl"))
TASKS = os.path.join(HERE, "tasks")
SANITIZED = os.environ.get("PAWL_SANITIZED") == "1"


def require_pawl():
    if not os.access(PAWL, os.X_OK):
        print(f"SKIP: there is no {PAWL}")
        sys.exit(77)


def folder():
    """A fresh folder for one test."""
    base = os.environ.get("TEST_TMP")
    return tempfile.mkdtemp(prefix="cli-", dir=base if base and os.path.isdir(base) else None)


def pawl(*arguments, cwd, stdin=b"", env=None, timeout=120, prepare=None, stdout=None):
    """Runs pawl; its cache and database lie in cwd. Returns the finished process, texts decoded."""
    full = {**os.environ, "PAWL_CACHE_DIR": os.path.join(cwd, "cache"), "HOME": cwd,
            "PAWL_THREADS": "2"}
    full.pop("PAWL_DB", None)
    full.update(env or {})
    done = subprocess.run([PAWL, *map(str, arguments)], cwd=cwd, input=stdin,
                          stdout=stdout or subprocess.PIPE, stderr=subprocess.PIPE, env=full,
                          timeout=timeout, check=False, preexec_fn=prepare)
    done.stdout = (done.stdout or b"").decode("utf-8", "replace")
    done.stderr = done.stderr.decode("utf-8", "replace")
    return done


def write(path, content):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content if isinstance(content, bytes) else content.encode())
    return path


def task(name):
    return os.path.join(TASKS, name)


def copy_task(name, to):
    return shutil.copy(task(name), to)


def npy(values, shape, descr="<f4", code="f", fortran=False):
    """The bytes of a .npy file."""
    dims = "(" + "".join(f"{d}, " for d in shape) + ")"
    header = f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {dims}, }}"
    header += " " * (-(10 + len(header) + 1) % 64) + "\n"
    body = struct.pack(f"<{len(values)}{code}", *values)
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + body


def read_npy(path):
    """(shape, list of float32) of a .npy file with '<f4'."""
    with open(path, "rb") as file:
        data = file.read()
    size = struct.unpack("<H", data[8:10])[0]
    header = data[10:10 + size].decode()
    assert "'<f4'" in header and "False" in header, header
    shape = tuple(int(d) for d in re.search(r"'shape': \(([^)]*)\)", header)[1].split(",") if d.strip())
    body = data[10 + size:]
    return shape, list(struct.unpack(f"<{len(body) // 4}f", body))
