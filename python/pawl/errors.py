"""Errors of outputs against the fp64 oracle, on the device, all elements.

The full acceptance rule needs the running error scale E, which only the reference evaluator has; here its place is taken by what
the oracle does when its inputs move by the class's unit (f32 outputs; for narrower ones the ulp dominates):
|y - y64| <= m * max(largest error of PyTorch eager in the row, largest such movement in the row) + one ulp. `pawl verify` has
the whole rule.
"""
import torch

MANTISSA = {torch.float64: 52, torch.float32: 23, torch.float16: 10, torch.bfloat16: 7}
SMALLEST = {torch.float64: -1022, torch.float32: -126, torch.float16: -14, torch.bfloat16: -126}


def ulp(y64, dtype):
    """Spacing of dtype at |y64|."""
    _, exponent = torch.frexp(y64)
    exponent = torch.where(y64 == 0, torch.full_like(exponent, SMALLEST[dtype]), exponent - 1).clamp_min(SMALLEST[dtype])
    return torch.pow(torch.full_like(y64, 2.0), (exponent - MANTISSA[dtype]).to(torch.float64))


def as_tuple(y):
    return tuple(y) if isinstance(y, (tuple, list)) else (y,)


def movement(oracle, inputs, y64, trials=4, unit=2.0 ** -22):
    """Largest |oracle(x (1 +- unit)) - y64| over random signs, for every output; None for integers."""
    y64 = as_tuple(y64)
    generator = torch.Generator(device="cpu").manual_seed(1)
    most = [torch.zeros_like(y) if y.is_floating_point() else None for y in y64]
    for _ in range(trials):
        moved = []
        for x in inputs:
            if x.is_floating_point():
                sign = torch.randint(2, x.shape, generator=generator, dtype=torch.int8).to(x.device).to(x.dtype) * 2 - 1
                x = x * (1 + unit * sign)
            moved.append(x)
        for i, y in enumerate(as_tuple(oracle(*moved))):
            if most[i] is not None:
                most[i] = torch.maximum(most[i], torch.nan_to_num((y - y64[i]).abs(), nan=0.0, posinf=0.0, neginf=0.0))
    return tuple(most)


def compare(outputs, oracle, baseline, moved=None, multiplier=None):
    """{max_abs, rms, outside, checked, worst}: `outside` counts elements beyond the allowance (integers: any difference);
    `worst` is the largest error over its allowance."""
    total = {"max_abs": 0.0, "rms": 0.0, "outside": 0, "checked": 0, "worst": 0.0}
    squares = 0.0
    moved = moved or (None,) * len(as_tuple(outputs))
    for y, y64, base, shift in zip(as_tuple(outputs), as_tuple(oracle), as_tuple(baseline), moved):
        if tuple(y.shape) != tuple(y64.shape):
            raise ValueError(f"shape {tuple(y.shape)}, expected {tuple(y64.shape)}")
        total["checked"] += y.numel()
        if not y.numel():
            continue
        if not y.is_floating_point():
            total["outside"] += int((y != y64.to(y.dtype)).sum())
            continue
        m = multiplier or (3.0 if y.dtype in (torch.bfloat16, torch.float16) else 2.0)
        y, base, dtype = y.to(torch.float64), base.to(torch.float64), y.dtype
        finite = torch.isfinite(y) & torch.isfinite(y64)
        same = (torch.isnan(y) & torch.isnan(y64)) | (y == y64) | (y == y64.to(dtype).to(torch.float64))
        error = torch.where(finite, (y - y64).abs(), torch.zeros_like(y))
        base_error = torch.nan_to_num((base - y64).abs(), nan=0.0, posinf=0.0, neginf=0.0)
        if shift is not None:
            base_error = torch.maximum(base_error, shift)
        row = base_error.amax(dim=-1, keepdim=True) if base_error.dim() else base_error
        ratio = error / (m * row + ulp(torch.nan_to_num(y64), dtype))
        total["outside"] += int((ratio > 1).sum()) + int((~finite & ~same).sum())
        total["worst"] = max(total["worst"], float(ratio.max()))
        total["max_abs"] = max(total["max_abs"], float(error.max()))
        squares += float((error * error).sum())
    total["rms"] = (squares / total["checked"]) ** 0.5 if total["checked"] else 0.0
    return total
