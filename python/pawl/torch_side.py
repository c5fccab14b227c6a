"""The PyTorch side of a comparison: the rendered module under one mode of torch.compile, and caches that outlive the machine.

Matrix products of float32 stay at PyTorch's default, torch.get_float32_matmul_precision() == "highest"; nothing here sets a flag
that a user's program would not have.
"""
import contextlib
import hashlib
import lzma
import os
import sys
import time
import traceback
import zipfile

FREEZING = "+freezing"
CACHE_LIMIT = 14e6            # bytes of compiled graphs in a file of caches


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def brief(error):
    """The first lines of what an exception says."""
    text = "".join(traceback.format_exception_only(type(error), error)).strip()
    return text[:600]


class Cache:
    """What torch.compile keeps, in one zip file. `picks/PATH`: the timings by which max-autotune chose kernels for a product's shape,
    a few kilobytes that save nearly all of the time, also for tasks that were never compiled. `artifacts/HASH.xz`: the compiled
    graphs with their kernels, one member a process that compiled something new, as long as the file stays under CACHE_LIMIT. A
    folder instead of a file is where torch.compile and Triton keep everything themselves."""

    def __init__(self, path):
        self.path, self.artifacts = path, {}
        if not path:
            return
        if os.path.isdir(path) or path.endswith(os.sep):
            os.makedirs(path, exist_ok=True)
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = os.path.abspath(path)
            os.environ["TRITON_CACHE_DIR"] = os.path.join(os.path.abspath(path), "triton")
            self.path = None
        elif os.path.exists(path):
            self.load()

    def load(self):
        import torch
        try:
            with zipfile.ZipFile(self.path) as z:
                members = {name: z.read(name) for name in z.namelist()}
            for name, data in members.items():
                if name.startswith("picks/"):
                    self.restore(name.removeprefix("picks/"), data)
                elif name.endswith(".xz"):
                    torch.compiler.load_cache_artifacts(lzma.decompress(data))
                    self.artifacts[name] = data
                else:                                                  # files of an earlier form
                    torch.compiler.load_cache_artifacts(data)
            say(f"loaded {len(members)} members of torch.compile's caches from {self.path}")
        except Exception as e:
            say(f"warning: {self.path} was not loaded: {brief(e)}")

    @staticmethod
    def folder():
        from torch._inductor.runtime.cache_dir_utils import cache_dir
        return os.path.join(cache_dir(), "cache")

    def restore(self, name, data):
        path = os.path.normpath(os.path.join(self.folder(), name))
        if not path.startswith(self.folder() + os.sep) or os.path.exists(path):
            return
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(data)

    def picks(self):
        folder = self.folder()
        for where, _, names in os.walk(folder):
            for name in names:
                path = os.path.join(where, name)
                with open(path, "rb") as f:
                    yield "picks/" + os.path.relpath(path, folder), f.read()

    def graphs(self):
        """The artifacts, this process's too, that fit: the largest go first."""
        import torch
        kept = dict(self.artifacts)
        found = torch.compiler.save_cache_artifacts() if cache_misses() or not kept else None
        if found:
            kept[f"artifacts/{hashlib.sha256(found[0]).hexdigest()[:24]}.xz"] = lzma.compress(found[0], preset=1)
        while sum(map(len, kept.values())) > CACHE_LIMIT:
            name = max(kept, key=lambda k: len(kept[k]))
            say(f"left out of {self.path}: compiled graphs of {len(kept.pop(name)) / 1e6:.1f} MB")
        return kept

    def save(self, last=False):
        """Rewrites the file. Compiled graphs of this process take seconds to pack: only the last time."""
        if not self.path:
            return
        try:
            members = self.graphs() if last else self.artifacts
            with zipfile.ZipFile(self.path + ".tmp", "w") as z:
                for name, content in members.items():
                    z.writestr(name, content)
                for name, content in self.picks():
                    z.writestr(name, content, zipfile.ZIP_DEFLATED)
            os.replace(self.path + ".tmp", self.path)
        except Exception as e:
            say(f"warning: torch.compile's caches were not saved: {brief(e)}")


@contextlib.contextmanager
def freezing(on):
    """Inductor's freezing while compiling and calling."""
    if not on:
        yield
        return
    import torch._inductor.config as config
    with config.patch(freezing=True):
        yield


def cache_misses():
    """How often Inductor compiled something that was in no cache or could not be, so far in this process."""
    try:
        from torch._dynamo.utils import counters
        return counters["inductor"]["fxgraph_cache_miss"] + counters["inductor"]["fxgraph_cache_bypass"]
    except Exception:
        return 0


class Theirs:
    """The module under one mode: compiled on its first call, which is timed. Each mode needs a module of its own code: dynamo
    keeps what it compiled by code object, and freezing is no part of its key."""

    def __init__(self, module, mode, example):
        import torch
        self.mode = mode
        base, self.frozen = (mode[:-len(FREEZING)], True) if mode.endswith(FREEZING) else (mode, False)
        self.graphs = base in ("max-autotune", "reduce-overhead")
        missed, start = cache_misses(), time.perf_counter()
        self.function = module if base == "eager" else \
            torch.compile(module, mode=None if base == "default" else base, fullgraph=True, dynamic=False)
        self.first = self.clone(self(example))
        for _ in range(2):                       # cudagraph trees: warm-up, record, replay
            self(example)
        if example and example[0].is_cuda:
            torch.cuda.synchronize()
        self.compile_s = time.perf_counter() - start
        self.cached = base != "eager" and cache_misses() == missed

    def __call__(self, inputs):
        import torch
        if self.graphs:
            torch.compiler.cudagraph_mark_step_begin()
        with freezing(self.frozen):
            return self.function(*inputs)

    def bare(self, inputs):
        """A call for timing: nothing around it."""
        function = self.function
        return lambda: function(*inputs)

    @staticmethod
    def clone(outputs):
        return tuple(o.clone() for o in (outputs if isinstance(outputs, (tuple, list)) else (outputs,)))


def modes_of(options, program):
    """The modes to run: freezing doubles the max-autotune ones where weights are frozen."""
    out = []
    for mode in filter(None, (m.strip() for m in options.modes.split(","))):
        out.append(mode)
        frozen = bool(program.params) and not any(d.mutable for d in program.params)
        if mode.startswith("max-autotune") and frozen and not options.no_freezing:
            out.append(mode + FREEZING)
    return out


def machine(cpu):
    """What a timing depends on."""
    import platform

    import torch
    meta = {"torch": torch.__version__, "python": platform.python_version(), "device": "cpu",
            "float32_matmul_precision": torch.get_float32_matmul_precision()}
    with contextlib.suppress(Exception):
        import triton
        meta["triton"] = triton.__version__
    if not cpu:
        p = torch.cuda.get_device_properties(0)
        meta.update(device=p.name, sms=p.multi_processor_count, cuda=torch.version.cuda,
                    tf32={"matmul": torch.backends.cuda.matmul.allow_tf32, "conv": torch.backends.cudnn.allow_tf32})
    return meta
