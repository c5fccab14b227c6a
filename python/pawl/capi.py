"""The runtime's C API (runtime/pawl.h) through ctypes: packages, sessions, and calls on torch tensors without copies."""
import ctypes
import glob
import json
import os
from ctypes import POINTER, byref, c_char_p, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p

MAX_RANK = 8
ABI_VERSION = 1
DTYPES = ("f64", "f32", "f16", "bf16", "i64", "i32", "i8", "u8", "bool")       # pawl_dtype, in order
BYTES = {"f64": 8, "f32": 4, "f16": 2, "bf16": 2, "i64": 8, "i32": 4, "i8": 1, "u8": 1, "bool": 1}
TORCH_NAMES = {"f64": "float64", "f32": "float32", "f16": "float16", "bf16": "bfloat16", "i64": "int64",
               "i32": "int32", "i8": "int8", "u8": "uint8", "bool": "bool"}


class Error(RuntimeError):
    """A status other than PAWL_OK, with the library's text."""

    def __init__(self, status, text):
        super().__init__(text or f"pawl: status {status}")
        self.status = status


class Tensor(ctypes.Structure):
    _fields_ = [("data", c_void_p), ("dtype", c_int32), ("rank", c_int32),
                ("shape", c_int64 * MAX_RANK), ("strides", c_int64 * MAX_RANK)]


class _Io(ctypes.Structure):
    _fields_ = [("name", c_char_p), ("dtype", c_int32), ("rank", c_int32),
                ("min", c_int64 * MAX_RANK), ("max", c_int64 * MAX_RANK), ("type", c_char_p)]


class _SessionOptions(ctypes.Structure):
    _fields_ = [("size", c_size_t), ("device", c_char_p), ("threads", c_int32), ("use_graph", c_int32)]


_PROTOTYPES = {
    "pawl_abi_version": (c_uint32, []),
    "pawl_error": (c_char_p, []),
    "pawl_open": (c_int32, [c_char_p, POINTER(c_void_p)]),
    "pawl_close": (None, [c_void_p]),
    "pawl_input_count": (c_int32, [c_void_p]),
    "pawl_output_count": (c_int32, [c_void_p]),
    "pawl_input": (c_int32, [c_void_p, c_int32, POINTER(_Io)]),
    "pawl_output": (c_int32, [c_void_p, c_int32, POINTER(_Io)]),
    "pawl_manifest": (c_char_p, [c_void_p]),
    "pawl_session_new": (c_int32, [c_void_p, POINTER(_SessionOptions), POINTER(c_void_p)]),
    "pawl_session_free": (None, [c_void_p]),
    "pawl_infer": (c_int32, [c_void_p, POINTER(Tensor), c_int32, POINTER(Tensor), c_int32]),
    "pawl_run": (c_int32, [c_void_p, POINTER(Tensor), c_int32, POINTER(Tensor), c_int32, c_void_p]),
    "pawl_fill": (c_int32, [c_void_p, c_int32, c_int64, c_uint64, c_char_p, c_char_p]),
}
_library = None


def _candidates():
    """$PAWL_LIB, the folders of an unpacked release, the build folders of a checkout, then the system's."""
    if os.environ.get("PAWL_LIB"):
        yield os.environ["PAWL_LIB"]
        return
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    for place in ("lib", "lib64", "bin", ".", "build/release", "build/dev", "build"):
        yield os.path.join(root, place, "libpawl.so")
    yield from sorted(glob.glob(os.path.join(root, "build", "*", "libpawl.so")))
    yield "libpawl.so"


def library():
    """The loaded libpawl.so; raises OSError saying where it was looked for."""
    global _library
    if _library is not None:
        return _library
    tried = []
    for path in _candidates():
        if os.sep in path and not os.path.exists(path):
            tried.append(path)
            continue
        try:
            lib = ctypes.CDLL(path)
        except OSError as e:
            tried.append(f"{path} ({e})")
            continue
        for name, (result, arguments) in _PROTOTYPES.items():
            function = getattr(lib, name)
            function.restype, function.argtypes = result, arguments
        if lib.pawl_abi_version() != ABI_VERSION:
            raise OSError(f"{path} has ABI {lib.pawl_abi_version()}, this package needs {ABI_VERSION}")
        _library = lib
        return lib
    raise OSError("libpawl.so was not found; build it, or set PAWL_LIB. Tried: " + ", ".join(tried))


def _check(status):
    if status != 0:
        text = library().pawl_error()
        raise Error(status, text.decode("utf-8", "replace") if text else "")


def describe(tensor):
    """A pawl_tensor for a torch tensor: its pointer, shape and strides; borrows its memory."""
    if tensor.dim() > MAX_RANK:
        raise ValueError(f"rank {tensor.dim()} is more than {MAX_RANK}")
    name = str(tensor.dtype).removeprefix("torch.")
    code = next((i for i, d in enumerate(DTYPES) if TORCH_NAMES[d] == name), None)
    if code is None:
        raise TypeError(f"no Pawl dtype for {tensor.dtype}")
    out = Tensor(tensor.data_ptr() or None, code, tensor.dim())
    for i, (extent, stride) in enumerate(zip(tensor.shape, tensor.stride())):
        out.shape[i] = extent
        out.strides[i] = stride
    if tensor.is_contiguous():
        out.strides = (c_int64 * MAX_RANK)()
    return out


def fill(tensor, seed, name, dist=None):
    """Fills a contiguous CPU tensor (or writable buffer of torch's) with the values that Pawl draws for `name`."""
    d = describe(tensor)
    if tensor.device.type != "cpu" or not tensor.is_contiguous():
        raise ValueError("fill needs a contiguous CPU tensor")
    _check(library().pawl_fill(d.data, d.dtype, tensor.numel(), seed, name.encode(), (dist or "normal(0, 1)").encode()))
    return tensor


def open(path):  # noqa: A001
    """Opens a .pawl package."""
    return Package(path)


class Package:
    """A compiled package; immutable. `inputs` and `outputs` are lists of (name, dtype, type as text)."""

    def __init__(self, path):
        self._lib, self._handle = library(), c_void_p()
        _check(self._lib.pawl_open(os.fsencode(path), byref(self._handle)))
        self.inputs = self._io(self._lib.pawl_input_count(self._handle), self._lib.pawl_input)
        self.outputs = self._io(self._lib.pawl_output_count(self._handle), self._lib.pawl_output)

    def _io(self, count, get):
        rows = []
        for i in range(count):
            io = _Io()
            _check(get(self._handle, i, byref(io)))
            rows.append((io.name.decode(), DTYPES[io.dtype], (io.type or b"").decode()))
        return rows

    def manifest(self):
        """Versions, guards, decisions, as a dict."""
        text = self._lib.pawl_manifest(self._handle)
        return json.loads(text.decode()) if text else {}

    def session(self, device="auto", threads=0, use_graph=-1):
        return Session(self, device, threads, use_graph)

    def close(self):
        if self._handle:
            self._lib.pawl_close(self._handle)
            self._handle = c_void_p()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Session:
    """Runs a package on a device. Belongs to one thread at a time. Close it before its package."""

    def __init__(self, package, device="auto", threads=0, use_graph=-1):
        self.package, self._lib, self._handle = package, package._lib, c_void_p()
        self.device = device
        options = _SessionOptions(ctypes.sizeof(_SessionOptions), device.encode(), threads, use_graph)
        _check(self._lib.pawl_session_new(package._handle, byref(options), byref(self._handle)))

    def infer(self, inputs):
        """[(dtype name, shape)] of the outputs for these input tensors."""
        given = self._array(inputs)
        out = (Tensor * max(1, len(self.package.outputs)))()
        _check(self._lib.pawl_infer(self._handle, given, len(inputs), out, len(self.package.outputs)))
        return [(DTYPES[o.dtype], tuple(o.shape[:o.rank])) for o in out[:len(self.package.outputs)]]

    @staticmethod
    def _array(tensors):
        array = (Tensor * max(1, len(tensors)))()
        for i, t in enumerate(tensors):
            array[i] = describe(t)
        return array

    def empty_outputs(self, inputs):
        """Fresh output tensors on the inputs' device."""
        import torch
        device = inputs[0].device if inputs else ("cpu" if self.device == "cpu" else "cuda")
        return [torch.empty(shape, dtype=getattr(torch, TORCH_NAMES[dtype]), device=device)
                for dtype, shape in self.infer(inputs)]

    def prepare(self, inputs, outputs):
        """A function of a stream pointer that enqueues one call on these tensors, with nothing left to do but the C call.
        The tensors are kept alive by it."""
        given, wanted = self._array(inputs), self._array(outputs)
        run, handle, n_in, n_out = self._lib.pawl_run, self._handle, len(inputs), len(outputs)

        def call(stream, keep=(inputs, outputs)):
            status = run(handle, given, n_in, wanted, n_out, stream)
            if status:
                _check(status)
            return keep[1]
        return call

    def __call__(self, *inputs, out=None, stream=None):
        """Runs on torch's current stream (of the inputs' device) unless `stream` is a pointer."""
        inputs = list(inputs)
        if stream is None and inputs and inputs[0].is_cuda:
            import torch
            stream = torch.cuda.current_stream(inputs[0].device).cuda_stream
        outputs = self.empty_outputs(inputs) if out is None else list(out)
        return self.prepare(inputs, outputs)(stream)

    def close(self):
        if self._handle:
            self._lib.pawl_session_free(self._handle)
            self._handle = c_void_p()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def program():
    """The `pawl` command that belongs to the library: $PAWL, or beside it."""
    if os.environ.get("PAWL"):
        return os.environ["PAWL"]
    for path in _candidates():
        beside = os.path.join(os.path.dirname(path), "pawl")
        up = os.path.join(os.path.dirname(os.path.dirname(path)), "bin", "pawl")
        for p in (beside, up):
            if os.sep in p and os.access(p, os.X_OK) and os.path.isfile(p):
                return p
    return "pawl"
