"""Operands that catch what a reduced significand hides, and the fp32 class's rule on their product (numerics.md's lane B)."""
import math

from packages import torch


def few(x, count, g):
    """Rows with `count` nonzeros."""
    keep = torch.rand(x.shape, generator=g, device=x.device).topk(min(count, x.shape[-1]), dim=-1).indices
    return torch.zeros_like(x).scatter(-1, keep, x.gather(-1, keep))


def some(x, share, g):
    return torch.rand(x.shape, generator=g, device=x.device) < share


def distributions():
    """name: (a of [M, K], b of [K, N]) made of standard normal ones and a generator."""
    def alternating(x, g):
        sign = 1.0 - 2.0 * (torch.arange(x.shape[-1], device=x.device) % 2)
        return x.abs().repeat_interleave(2, -1)[..., :x.shape[-1]] * sign

    def spread(bits):
        return lambda x, g: x * torch.exp2((torch.rand(x.shape, generator=g, device=x.device) * 2 - 1) * bits)

    def mixed_rows(x, g):
        return x * torch.exp2(torch.randint(-100, 100, (x.shape[0], 1), generator=g, device=x.device).float() / 4)

    def put(value, share):
        return lambda x, g: torch.where(some(x, share, g), torch.full_like(x, value), x)

    def zero_rows(x, g):
        return x * (torch.arange(x.shape[0], device=x.device) % 3 != 0)[:, None]

    def signed_zero_rows(x, g):
        return torch.where((torch.arange(x.shape[0], device=x.device) % 3 == 0)[:, None], torch.full_like(x, -0.0), x)

    plain = lambda x, g: x                                                     # noqa: E731
    uniform = lambda x, g: torch.rand(x.shape, generator=g, device=x.device)   # noqa: E731
    return {
        "normal": (plain, plain), "uniform(-1, 1)": (lambda x, g: uniform(x, g) * 2 - 1,) * 2, "uniform(0, 1)": (uniform, uniform),
        "+5 offset": (lambda x, g: x + 5,) * 2, "x 1e3": (lambda x, g: x * 1e3,) * 2, "x 1e-3": (lambda x, g: x * 1e-3,) * 2,
        "a x 1e15, b x 1e-15": (lambda x, g: x * 1e15, lambda x, g: x * 1e-15),
        "0.1 % spikes x 50": (lambda x, g: torch.where(some(x, 1e-3, g), x * 50, x),) * 2,
        "alternating cancellation": (alternating, lambda x, g: x.repeat_interleave(2, 0)[:x.shape[0]]),
        "ties": (lambda x, g: (x * 4).round() / 4,) * 2,
        "1 nonzero a row": (lambda x, g: few(x, 1, g), plain), "2 nonzeros": (lambda x, g: few(x, 2, g), plain),
        "4 nonzeros": (lambda x, g: few(x, 4, g), plain), "1 nonzero, uniform": (lambda x, g: few(x.abs() % 1 + 1, 1, g), uniform),
        "half 2^17, half 2^-17": (lambda x, g: torch.where(some(x, 0.5, g), x * 2.0 ** 17, x * 2.0 ** -17), plain),
        "spread 2^+-8": (spread(8), plain), "spread 2^+-30 (fallback)": (spread(30), plain), "of b 2^+-30 (fallback)": (plain, spread(30)),
        "rows 2^-25 to 2^25": (mixed_rows, lambda x, g: mixed_rows(x.T, g).T), "zero rows": (zero_rows, plain),
        "-0 rows": (signed_zero_rows, plain), "denormals": (lambda x, g: x * 2.0 ** -130, plain),
        "denormals among normals": (lambda x, g: torch.where(some(x, 0.01, g), x * 2.0 ** -130, x), plain),
        "Inf": (put(math.inf, 1e-5), plain), "-Inf and Inf": (lambda x, g: put(math.inf, 1e-5)(put(-math.inf, 1e-5)(x, g), g), plain),
        "NaN": (put(math.nan, 1e-6), plain), "Inf in both": (put(math.inf, 1e-5), put(-math.inf, 1e-5)),
        "Inf against zero rows": (zero_rows, put(math.inf, 1e-5)), "overflow": (lambda x, g: x * 2.0 ** 66, lambda x, g: x * 2.0 ** 60),
    }


def judge(y, base, a, b):
    """(worst share of what the rule allows, of its RMS form, both of cuBLAS, mismatched places) at the fp32 class."""
    y64, scale = a.double() @ b.double(), a.double().abs() @ b.double().abs()
    finite = y64.isfinite() & (scale < 3e38)
    kinds = [torch.where(x.isnan(), 3, torch.where(x.isposinf(), 1, torch.where(x.isneginf(), 2, 0))) for x in (y, base)]
    differ = (kinds[0] != kinds[1]) & ~(y64.isfinite() & ~finite)              # near overflow the order of sums decides
    zero = torch.zeros((), dtype=torch.float64, device=y.device)
    r = torch.where(finite, (base.double() - y64).abs(), zero)
    e = torch.where(finite, scale, zero)
    target = torch.where(finite, y64, zero).float()
    ulp = (torch.nextafter(target.abs(), torch.full_like(target, math.inf)).double() - target.abs().double())

    def shares(x):
        d = torch.where(finite, (x.double() - y64).abs(), zero)
        allowed = 2 * torch.maximum(r.max(dim=-1, keepdim=True).values, 2.0 ** -22 * e) + ulp
        rms = lambda t: t.square().mean().sqrt().item()                        # noqa: E731
        return (d / allowed).max().item(), rms(d) / (2 * max(rms(r), 2.0 ** -22 * rms(e)) + 1e-300)
    return *shares(y), *shares(base), int(differ.sum().item())
