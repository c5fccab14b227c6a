"""How each op and composite is written in PyTorch: one row each, `name(operands; attributes)` and the expression.

In an expression `{x}` is an operand, `{axis}` an attribute as a Python literal, `{dtype}` a torch dtype. `{x:t}` is an operand that
has to be a tensor even where the task has a number. Rows that need more than text are functions below. Several rows of one name
differ in their number of operands; `*xs` takes any number. Expressions are what a user of PyTorch would write: the comparison is
with their code, not with ours. WIDE is float32, and float64 in the oracle.
"""
import math
import re

from .capi import TORCH_NAMES

TABLE = """
abs(x)                                   torch.abs({x})
neg(x)                                   (-{x})
sign(x)                                  torch.sign({x})
ceil(x)                                  torch.ceil({x})
floor(x)                                 torch.floor({x})
round(x)                                 torch.round({x})
trunc(x)                                 torch.trunc({x})
pow2_floor(x)                            torch.ldexp(torch.ones_like({x}), torch.frexp(torch.abs({x})).exponent - 1)
sqrt(x)                                  torch.sqrt({x})
rsqrt(x)                                 torch.rsqrt({x})
reciprocal(x)                            torch.reciprocal({x})
exp(x)                                   torch.exp({x})
exp2(x)                                  torch.exp2({x})
expm1(x)                                 torch.expm1({x})
log(x)                                   torch.log({x})
log2(x)                                  torch.log2({x})
log10(x)                                 torch.log10({x})
log1p(x)                                 torch.log1p({x})
sin(x)                                   torch.sin({x})
cos(x)                                   torch.cos({x})
tan(x)                                   torch.tan({x})
asin(x)                                  torch.asin({x})
acos(x)                                  torch.acos({x})
atan(x)                                  torch.atan({x})
sinh(x)                                  torch.sinh({x})
cosh(x)                                  torch.cosh({x})
tanh(x)                                  torch.tanh({x})
asinh(x)                                 torch.asinh({x})
acosh(x)                                 torch.acosh({x})
atanh(x)                                 torch.atanh({x})
erf(x)                                   torch.erf({x})
erfc(x)                                  torch.erfc({x})
isnan(x)                                 torch.isnan({x})
isinf(x)                                 torch.isinf({x})
logical_not(x)                           torch.logical_not({x})
bitwise_not(x)                           torch.bitwise_not({x})
add(a, b)                                ({a} + {b})
sub(a, b)                                ({a} - {b})
mul(a, b)                                ({a} * {b})
pow(a, b)                                torch.pow({a}, {b})
fmod(a, b)                               torch.fmod({a:t}, {b})
remainder(a, b)                          torch.remainder({a}, {b})
atan2(a, b)                              torch.atan2({a:t}, {b:t})
eq(a, b)                                 ({a} == {b})
ne(a, b)                                 ({a} != {b})
lt(a, b)                                 ({a} < {b})
le(a, b)                                 ({a} <= {b})
gt(a, b)                                 ({a} > {b})
ge(a, b)                                 ({a} >= {b})
logical_and(a, b)                        torch.logical_and({a:t}, {b:t})
logical_or(a, b)                         torch.logical_or({a:t}, {b:t})
logical_xor(a, b)                        torch.logical_xor({a:t}, {b:t})
bitwise_and(a, b)                        ({a} & {b})
bitwise_or(a, b)                         ({a} | {b})
bitwise_xor(a, b)                        ({a} ^ {b})
shift_left(a, b)                         torch.bitwise_left_shift({a}, {b})
shift_right(a, b)                        torch.bitwise_right_shift({a}, {b})
where(c, a, b)                           torch.where({c}, {a}, {b})
cast(x; dtype)                           {x}.to({dtype})
reshape(x; shape)                        {x}.reshape({shape})
view(x; shape)                           {x}.reshape({shape})
permute(x; perm)                         {x}.permute({perm})
expand(x; shape)                         {x}.expand({shape})
flip(x; axes)                            torch.flip({x}, {axes})
concat(*xs; axis)                        torch.cat(({xs}), dim={axis})
stack(*xs; axis=0)                       torch.stack(({xs}), dim={axis})
choice(*xs; id)                          {first}
cumsum(x; axis)                          torch.cumsum({x}, dim={axis})
cumprod(x; axis)                         torch.cumprod({x}, dim={axis})
cummax(x; axis)                          torch.cummax({x}, dim={axis}).values
cummin(x; axis)                          torch.cummin({x}, dim={axis}).values
logsumexp(x; axes=-1, keepdims=0)        torch.logsumexp({x}, dim={axes}, keepdim={keepdims:b})
mean_square(x; axes=-1, keepdims=0)      {x}.to(WIDE).square().mean(dim={axes}, keepdim={keepdims:b}).to({x}.dtype)
l2_norm(x; axes=-1, keepdims=0)          torch.linalg.vector_norm({x}, dim={axes}, keepdim={keepdims:b})
softmax(x; axis=-1)                      F.softmax({x}, dim={axis})
log_softmax(x; axis=-1)                  F.log_softmax({x}, dim={axis})
layer_norm(x; n=1, eps=1e-5)             F.layer_norm({x}, {x}.shape[-{n}:], None, None, {eps})
layer_norm(x, w, b; n=None, eps=1e-5)    F.layer_norm({x}, {w}.shape, {w}, {b}, {eps})
rms_norm(x; n=1, eps=1e-6)               F.rms_norm({x}, {x}.shape[-{n}:], None, {eps})
rms_norm(x, w; n=None, eps=1e-6)         F.rms_norm({x}, {w}.shape, {w}, {eps})
rms_norm_rounded(x, w; n=None, eps=1e-6) qwen3_rms_norm({x}, {w}, {eps})
group_norm(x; groups, eps=1e-5)          F.group_norm({x}, {groups}, None, None, {eps})
group_norm(x, w, b; groups, eps=1e-5)    F.group_norm({x}, {groups}, {w}, {b}, {eps})
batch_norm(x, m, v; eps=1e-5)            F.batch_norm({x}, {m}, {v}, None, None, False, 0.0, {eps})
batch_norm(x, m, v, w, b; eps=1e-5)      F.batch_norm({x}, {m}, {v}, {w}, {b}, False, 0.0, {eps})
normalize(x; axes=-1, eps=1e-12)         F.normalize({x}, p=2.0, dim={axes}, eps={eps})
linear(x, w)                             F.linear({x}, {w})
linear(x, w, b)                          F.linear({x}, {w}, {b})
bmm(a, b)                                torch.matmul({a}, {b})
addmm(c, a, b)                           torch.addmm({c}, {a}, {b})
sdpa(q, k, v; scale=None, causal=0)      F.scaled_dot_product_attention({q}, {k}, {v}, is_causal={causal:b}, scale={scale})
relu(x)                                  F.relu({x})
relu6(x)                                 F.relu6({x})
leaky_relu(x; slope=0.01)                F.leaky_relu({x}, {slope})
elu(x; alpha=1.0)                        F.elu({x}, {alpha})
selu(x)                                  F.selu({x})
celu(x; alpha=1.0)                       F.celu({x}, {alpha})
sigmoid(x)                               torch.sigmoid({x})
silu(x)                                  F.silu({x})
swish(x)                                 F.silu({x})
gelu(x)                                  F.gelu({x})
gelu_tanh(x)                             F.gelu({x}, approximate="tanh")
mish(x)                                  F.mish({x})
softplus(x; beta=1.0, threshold=20.0)    F.softplus({x}, {beta}, {threshold})
softsign(x)                              F.softsign({x})
log_sigmoid(x)                           F.logsigmoid({x})
hardtanh(x; lo=-1.0, hi=1.0)             F.hardtanh({x}, {lo}, {hi})
hardsigmoid(x)                           F.hardsigmoid({x})
hardswish(x)                             F.hardswish({x})
hardshrink(x; lambd=0.5)                 F.hardshrink({x}, {lambd})
softshrink(x; lambd=0.5)                 F.softshrink({x}, {lambd})
tanhshrink(x)                            F.tanhshrink({x})
threshold(x; threshold, value)           F.threshold({x}, {threshold}, {value})
clamp(x; lo, hi)                         torch.clamp({x}, {lo}, {hi})
clamp_min(x; lo)                         torch.clamp_min({x}, {lo})
clamp_max(x; hi)                         torch.clamp_max({x}, {hi})
square(x)                                torch.square({x})
glu(x; axis=-1)                          F.glu({x}, dim={axis})
swiglu(gate, up)                         (F.silu({gate}) * {up})
lerp(a, b; weight)                       torch.lerp({a}, {b}, {weight})
masked_fill(x, mask; value)              {x}.masked_fill({mask}, {value})
rotate_half(x)                           rotate_half({x})
rope(x, cos, sin)                        (({x} * {cos}) + (rotate_half({x}) * {sin}))
transpose(x; axis0=-2, axis1=-1)         {x}.transpose({axis0}, {axis1})
unsqueeze(x; axis)                       {x}.unsqueeze({axis})
squeeze(x; axis)                         {x}.squeeze({axis})
flatten(x; start=0, end=-1)              {x}.flatten({start}, {end})
expand_as(x, y)                          {x}.expand_as({y})
select(x; axis, index)                   {x}.select({axis}, {index})
split2(x; axis=-1)                       split_evenly({x}, 2, {axis})
split3(x; axis=-1)                       split_evenly({x}, 3, {axis})
repeat_interleave(x; repeats, axis)      {x}.repeat_interleave({repeats}, dim={axis})
embedding(ids, w)                        F.embedding({ids}, {w})
tril(x)                                  torch.tril({x})
triu(x)                                  torch.triu({x})
"""

HELPERS = {
    "qwen3_rms_norm": '''
def qwen3_rms_norm(hidden, weight, eps):
    """The body of transformers' Qwen3RMSNorm."""
    input_dtype = hidden.dtype
    hidden = hidden.to(WIDE)
    variance = hidden.pow(2).mean(-1, keepdim=True)
    hidden = hidden * torch.rsqrt(variance + eps)
    return weight * hidden.to(input_dtype)
''',
    "rotate_half": '''
def rotate_half(x):
    x1 = x[..., : x.shape[-1] // 2]
    x2 = x[..., x.shape[-1] // 2 :]
    return torch.cat((-x2, x1), dim=-1)
''',
    "grouped_mm": '''
def grouped_mm(x, w, ends):
    """Rows in groups, each against its own matrix; rows behind the last group are 0 (PyTorch's kernel leaves them as they are)."""
    if x.dtype == torch.bfloat16:
        return torch._grouped_mm(x, w, offs=ends.int())
    start, parts = 0, []
    for end, matrix in zip(ends.tolist(), w):
        end = min(max(end, start), x.shape[0])
        parts.append(x[start:end] @ matrix)
        start = end
    return torch.cat(parts + [x.new_zeros(x.shape[0] - start, w.shape[2])])
''',
    "split_evenly": '''
def split_evenly(x, n, axis):
    """n parts; what is left over goes to the last."""
    part = x.shape[axis] // n
    return x.split([part] * (n - 1) + [x.shape[axis] - part * (n - 1)], dim=axis)
''',
}


class Missing(Exception):
    """No row for an op, or an attribute it needs is not given."""


def torch_dtype(name, oracle=False):
    """The source text of a dtype; in the oracle every float is float64."""
    if name not in TORCH_NAMES:
        raise Missing(f"no torch dtype for '{name}'")
    return "torch.float64" if oracle and name in ("f64", "f32", "f16", "bf16") else "torch." + TORCH_NAMES[name]


def literal(v):
    """A Python literal, also for what repr does not give."""
    if isinstance(v, float) and not math.isfinite(v):
        return f'float("{v}")'
    if isinstance(v, (list, tuple)):
        return "(" + "".join(literal(x) + ", " for x in v).rstrip(" ") + ")" if len(v) == 1 \
            else "(" + ", ".join(literal(x) for x in v) + ")"
    return repr(v)


class _Operand:
    """Text of an operand in a template; `:t` asks for a tensor."""

    def __init__(self, text, is_number, like):
        self.text, self.is_number, self.like = text, is_number, like

    def __format__(self, spec):
        if spec == "t" and self.is_number:
            return f"torch.full_like({self.like}, {self.text})"
        return f"({self.text})" if self.is_number and self.text.startswith("-") else self.text


class _Attribute:
    """An attribute in a template; `:b` prints it as a bool."""

    def __init__(self, value):
        self.value = value

    def __format__(self, spec):
        return repr(bool(self.value)) if spec == "b" else self.value if isinstance(self.value, Raw) else literal(self.value)


class Raw(str):
    """Source text that goes in as it is."""


class Call:
    """One call to be written: operands as source text, attributes as Python values, types as (dtype name, shape) or None."""

    def __init__(self, name, operands, numbers, attrs, types, oracle):
        self.name, self.operands, self.numbers, self.attrs, self.types, self.oracle = \
            name, operands, numbers, attrs, types, oracle

    def tensor(self):
        """Source of the first operand that is a tensor."""
        return next((o for o, n in zip(self.operands, self.numbers) if not n), "x")

    def text(self, i):
        return format(_Operand(self.operands[i], self.numbers[i], self.tensor()), "")

    def rank(self, i):
        return len(self.types[i][1]) if self.types and self.types[i] else None

    def is_float(self, i):
        return bool(self.types and self.types[i] and self.types[i][0] in ("f64", "f32", "f16", "bf16"))


def _parse_signature(text):
    name, inside = re.match(r"(\w+)\((.*)\)$", text).groups()
    operands, _, attrs = inside.partition(";")
    rows = []
    for a in filter(None, (a.strip() for a in attrs.split(","))):
        key, _, default = a.partition("=")
        rows.append((key, default != "", eval(default) if default else None))  # literals of the table above
    return name, [o.strip() for o in operands.split(",") if o.strip()], rows


def _attributes(name, rows, given):
    unknown = set(given) - {key for key, _, _ in rows}
    if unknown:
        raise Missing(f"{name} has no attribute {', '.join(sorted(unknown))} here")
    out = {}
    for key, has_default, default in rows:
        if key not in given and not has_default:
            raise Missing(f"{name} needs {key}")
        out[key] = given.get(key, default)
    return out


def _template(operands, rows, expression):
    def write(c):
        attrs = _attributes(c.name, rows, c.attrs)
        values = {k: _Attribute(Raw(torch_dtype(v, c.oracle)) if k == "dtype" else v) for k, v in attrs.items()}
        if operands and operands[0].startswith("*"):
            values["xs"] = Raw("".join(c.text(i) + ", " for i in range(len(c.operands))).rstrip(" "))
            values["first"] = Raw(c.text(0))
        else:
            for i, o in enumerate(operands):
                values[o] = _Operand(c.operands[i], c.numbers[i], c.tensor())
        return expression.format(**values)
    return write


# ---- rows that are functions ------------------------------------------------------------------------------------------
def _bound(function):
    def write(c):
        if c.numbers[0] or c.numbers[1]:
            number, tensor = (0, 1) if c.numbers[0] else (1, 0)
            return f"torch.clamp_{'min' if function == 'maximum' else 'max'}({c.text(tensor)}, {c.operands[number]})"
        return f"torch.{function}({c.text(0)}, {c.text(1)})"
    return write


def _div(c):
    if c.types and all(t is None or t[0] not in ("f64", "f32", "f16", "bf16") for t in c.types) and any(c.types):
        return f"torch.div({c.text(0)}, {c.text(1)}, rounding_mode=\"trunc\")"
    return f"({c.text(0)} / {c.text(1)})"


def _matmul(c):
    a = _attributes(c.name, [("trans_a", True, 0), ("trans_b", True, 0), ("dtype", True, None)], c.attrs)
    left, right = c.text(0) + (".mT" if a["trans_a"] else ""), c.text(1)
    if a["trans_b"] and c.rank(1) == 2:
        text = f"F.linear({left}, {right})"
    else:
        text = f"torch.matmul({left}, {right}{'.mT' if a['trans_b'] else ''})"
    return text if a["dtype"] is None else f"{text}.to({torch_dtype(a['dtype'], c.oracle)})"


def _grouped_matmul(c):
    a = _attributes(c.name, [("trans_b", True, 0), ("dtype", True, None)], c.attrs)
    text = f"grouped_mm({c.text(0)}, {c.text(1)}{'.mT' if a['trans_b'] else ''}, {c.text(2)})"
    return text if a["dtype"] is None else f"{text}.to({torch_dtype(a['dtype'], c.oracle)})"


def _slice(c):
    a = _attributes(c.name, [("axis", True, 0), ("start", True, 0), ("size", False, None), ("step", True, 1)], c.attrs)
    axis = a["axis"]
    if a["step"] == 1:
        return f"{c.text(0)}.narrow({axis}, {a['start']}, {a['size']})"
    end = f"{a['start'] + (a['size'] - 1) * a['step'] + 1}"
    if axis < 0:
        return f"{c.text(0)}[..., {a['start']}:{end}:{a['step']}{', :' * (-axis - 1)}]"
    return f"{c.text(0)}[{':, ' * axis}{a['start']}:{end}:{a['step']}]"


def _pad(c):
    a = _attributes(c.name, [("axis", False, None), ("low", True, 0), ("high", True, 0), ("fill", True, 0.0)], c.attrs)
    after = str(-a["axis"] - 1) if a["axis"] < 0 else f"({c.text(0)}.dim() - {a['axis'] + 1})"
    return f"F.pad({c.text(0)}, (0, 0) * {after} + ({a['low']}, {a['high']}), value={literal(a['fill'])})"


def _reduce(function, **fixed):
    """Reductions whose axes may be one, several, or all."""
    def write(c):
        rows = [("axes", True, None), ("keepdims", True, 0)] + ([("correction", True, 1)] if function in ("var", "std") else [])
        a = _attributes(c.name, rows, c.attrs)
        axes, keep = a["axes"], bool(a["keepdims"])
        axes = axes[0] if isinstance(axes, (list, tuple)) and len(axes) == 1 else axes
        extra = "".join(f", {k}={v}" for k, v in fixed.items())
        if "correction" in a:
            extra += f", correction={a['correction']}"
        if c.name == "reduce_sum" and c.types and c.types[0] and not c.is_float(0):
            extra += f", dtype={c.text(0)}.dtype"
        x = c.text(0)
        if axes is None:
            whole = f"{x}.{function}({extra[2:]})"
            return f"{whole}.reshape((1,) * {x}.dim())" if keep else whole
        if function == "prod" and isinstance(axes, (list, tuple)):
            for axis in sorted(axes, reverse=True):
                x = f"{x}.prod(dim={axis}, keepdim={keep})"
            return x
        return f"{x}.{function}(dim={literal(axes)}{', keepdim=True' if keep else ''}{extra})"
    return write


def _arg(function):
    def write(c):
        a = _attributes(c.name, [("axes", False, None), ("keepdims", True, 0)], c.attrs)
        axis = a["axes"][0] if isinstance(a["axes"], (list, tuple)) else a["axes"]
        return f"torch.{function}({c.text(0)}, dim={axis}, keepdim={bool(a['keepdims'])})"
    return write




def _gather(c):
    axis = _attributes(c.name, [("axis", True, 0)], c.attrs)["axis"]
    if axis == 0 and c.rank(0) == 2:
        return f"F.embedding({c.text(1)}, {c.text(0)})"
    if axis < 0:
        return f"{c.text(0)}[(..., {c.text(1)}) + (slice(None),) * {-axis - 1}]"
    return f"{c.text(0)}[{':, ' * axis}{c.text(1)}]"


def _const(c):
    a = _attributes(c.name, [("value", False, None), ("dtype", True, "f32")], c.attrs)
    return f"torch.full((), {literal(a['value'])}, dtype={torch_dtype(a['dtype'], c.oracle)}, device=device)"


def _iota(c):
    a = _attributes(c.name, [("shape", False, None), ("axis", True, 0), ("dtype", True, "i64")], c.attrs)
    shape, axis = list(a["shape"]), a["axis"] % max(1, len(a["shape"]))
    column = [shape[axis] if i == axis else 1 for i in range(len(shape))]
    text = f"torch.arange({shape[axis]}, dtype={torch_dtype(a['dtype'], c.oracle)}, device=device)"
    return text if len(shape) == 1 else f"{text}.view({literal(column)}).expand({literal(shape)})"


def _sdpa_masked(c):
    a = _attributes(c.name, [("scale", True, None), ("causal", True, 0)], c.attrs)
    if a["causal"]:
        raise Missing("sdpa with a mask and causal=1 has no one function in PyTorch")
    q, k, v, mask = (c.text(i) for i in range(4))
    return f"F.scaled_dot_product_attention({q}, {k}, {v}, attn_mask={mask}, scale={literal(a['scale'])})"


FUNCTIONS = {
    ("maximum", 2): _bound("maximum"), ("minimum", 2): _bound("minimum"), ("div", 2): _div, ("matmul", 2): _matmul,
    ("grouped_matmul", 3): _grouped_matmul,
    ("slice", 1): _slice, ("pad", 1): _pad, ("gather", 2): _gather, ("const", 0): _const, ("iota", 0): _iota,
    ("sdpa", 4): _sdpa_masked,
    ("reduce_sum", 1): _reduce("sum"), ("reduce_prod", 1): _reduce("prod"), ("reduce_max", 1): _reduce("amax"),
    ("reduce_min", 1): _reduce("amin"), ("reduce_any", 1): _reduce("any"), ("reduce_all", 1): _reduce("all"),
    ("argmax", 1): _arg("argmax"), ("argmin", 1): _arg("argmin"),
    ("sum", 1): _reduce("sum"), ("prod", 1): _reduce("prod"), ("mean", 1): _reduce("mean"), ("var", 1): _reduce("var"),
    ("std", 1): _reduce("std"), ("amax", 1): _reduce("amax"), ("amin", 1): _reduce("amin"), ("any", 1): _reduce("any"),
    ("all", 1): _reduce("all"), ("max", 1): _reduce("amax"), ("min", 1): _reduce("amin"),
    ("max", 2): _bound("maximum"), ("min", 2): _bound("minimum"),
}


def _build():
    rows = dict(FUNCTIONS)
    for line in TABLE.strip().splitlines():
        signature, expression = re.match(r"(\w+\(.*?\))\s+(\S.*)$", line).groups()
        name, operands, attrs = _parse_signature(signature)
        arity = -1 if operands and operands[0].startswith("*") else len(operands)
        rows[(name, arity)] = _template(operands, attrs, expression)
    return rows


ROWS = _build()


def write_call(call):
    """The expression for a call; Missing when there is no row."""
    row = ROWS.get((call.name, len(call.operands))) or ROWS.get((call.name, -1))
    if row is None:
        known = sorted({n for name, n in ROWS if name == call.name})
        raise Missing(f"{call.name} of {len(call.operands)} operands" + (f" (known: of {known})" if known else ""))
    return row(call)
