"""Errors of outputs against the fp64 oracle, on the device, all elements.

The full acceptance rule needs the running error scale E, which only the reference evaluator has; here its place is taken by what
the oracle does when its inputs move by the class's unit (f32 outputs; for narrower ones the ulp dominates):
|y - y64| <= m * max(largest error of PyTorch eager in the row, largest such movement in the row) + one ulp. `pawl verify` has
the whole rule. Outputs may have gigabytes: everything but the oracle itself goes through pieces of PIECE elements.
"""
import torch

MANTISSA = {torch.float64: 52, torch.float32: 23, torch.float16: 10, torch.bfloat16: 7}
SMALLEST = {torch.float64: -1022, torch.float32: -126, torch.float16: -14, torch.bfloat16: -126}
PIECE = 1 << 26


def ulp(y64, dtype):
    """Spacing of dtype at |y64|."""
    _, exponent = torch.frexp(y64)
    exponent = torch.where(y64 == 0, torch.full_like(exponent, SMALLEST[dtype]), exponent - 1).clamp_min(SMALLEST[dtype])
    return torch.pow(torch.full_like(y64, 2.0), (exponent - MANTISSA[dtype]).to(torch.float64))


def as_tuple(y):
    return tuple(y) if isinstance(y, (tuple, list)) else (y,)


def table(y):
    """The tensor as rows of its last dim of more than one element."""
    return y.reshape(-1, next((d for d in reversed(y.shape) if d > 1), 1)) if y.numel() else y.reshape(1, 0)


def pieces(y):
    """(rows, columns) slices that cover a table."""
    rows, columns = y.shape
    wide = max(1, min(columns, PIECE))
    tall = max(1, PIECE // wide)
    for r in range(0, rows, tall):
        for c in range(0, columns, wide):
            yield slice(r, r + tall), slice(c, c + wide)


def moved(x, unit, generator):
    """x (1 +- unit) with random signs; without a generator all up, which is what errors of one sign, as of positive terms, do."""
    if not x.is_floating_point():
        return x
    if generator is None:
        return x * (1 + unit)
    return torch.empty_like(x).bernoulli_(0.5, generator=generator).mul_(2 * unit).add_(1 - unit).mul_(x)


class Truth:
    """The oracle's outputs and, for every row of them, the error that is allowed before the multiplier and the ulp. `baseline`
    are eager's outputs; with `oracle`, its movement counts too."""

    def __init__(self, y64, baseline, oracle=None, inputs=(), trials=4, unit=2.0 ** -22):
        self.y64 = tuple(table(y) for y in as_tuple(y64))
        self.shapes = tuple(tuple(y.shape) for y in as_tuple(y64))
        self.constant = all(y.numel() > 1 and bool(y.amin() == y.amax()) for y in self.y64)     # such a task proves little
        self.allowed = [torch.zeros(len(y), dtype=torch.float64, device=y.device) if y.is_floating_point() else None
                        for y in self.y64]
        self.raise_to(baseline)
        if oracle is not None:
            device = next((x.device for x in inputs), torch.device("cpu"))
            generator = torch.Generator(device=device).manual_seed(1)
            for g in [None] + [generator] * trials:
                self.raise_to(oracle(*[moved(x, unit, g) for x in inputs]))

    def raise_to(self, outputs):
        """Allows at least the distance of these outputs from the oracle's."""
        for y, y64, allowed in zip(as_tuple(outputs), self.y64, self.allowed):
            if allowed is None or not y.numel():
                continue
            y = table(y)
            for r, c in pieces(y64):
                off = (y[r, c].to(torch.float64) - y64[r, c]).abs_().nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
                allowed[r] = torch.maximum(allowed[r], off.amax(dim=-1))

    def judge(self, outputs, multiplier=None):
        """{max_abs, rms, outside, checked, worst}: `outside` counts elements beyond the allowance (integers: any difference);
        `worst` is the largest error over its allowance."""
        total = {"max_abs": 0.0, "rms": 0.0, "outside": 0, "checked": 0, "worst": 0.0}
        squares = 0.0
        for y, shape, y64, allowed in zip(as_tuple(outputs), self.shapes, self.y64, self.allowed):
            if tuple(y.shape) != shape:
                raise ValueError(f"shape {tuple(y.shape)}, expected {shape}")
            total["checked"] += y.numel()
            if not y.numel():
                continue
            y, m = table(y), multiplier or (3.0 if y.dtype in (torch.bfloat16, torch.float16) else 2.0)
            for r, c in pieces(y64):
                if allowed is None:
                    total["outside"] += int((y[r, c] != y64[r, c].to(y.dtype)).sum())
                else:
                    squares += _judge(total, y[r, c], y64[r, c], m * allowed[r].unsqueeze(-1))
        total["rms"] = (squares / total["checked"]) ** 0.5 if total["checked"] else 0.0
        return total


def _judge(total, y, y64, allowed):
    """Adds a piece to the totals; the sum of its squared errors."""
    dtype = y.dtype
    y = y.to(torch.float64)
    finite = torch.isfinite(y) & torch.isfinite(y64)
    same = (torch.isnan(y) & torch.isnan(y64)) | (y == y64) | (y == y64.to(dtype).to(torch.float64))
    error = torch.where(finite, (y - y64).abs(), torch.zeros_like(y))
    ratio = error / (allowed + ulp(torch.nan_to_num(y64), dtype))
    total["outside"] += int((ratio > 1).sum()) + int((~finite & ~same).sum())
    total["worst"] = max(total["worst"], float(ratio.max()))
    total["max_abs"] = max(total["max_abs"], float(error.max()))
    return float((error * error).sum())
