/* base/residue.c — arithmetic of residues. Both moduli are odd and below 2^60: products are Montgomery's (R = 2^64), so that
 * multiplying costs two wide multiplications and no division. */
#include "base/residue_internal.h"
#include <math.h>
#include <string.h>

/* ---- moduli ------------------------------------------------------------------------------------------------------------- */
static uint64_t inverse_word(uint64_t n)                   /* -1/n mod 2^64, by Newton */
{
    uint64_t x = n;
    for (int i = 0; i < 6; i++)
        x *= 2 - n * x;
    return 0 - x;
}

static uint64_t plain_mul(uint64_t a, uint64_t b, uint64_t n) { return (uint64_t)((unsigned __int128)a * b % n); }

Modulus modulus_new(uint64_t n)
{
    uint64_t one = (uint64_t)(((unsigned __int128)1 << 64) % n), r2 = plain_mul(one, one, n);
    return (Modulus){n, inverse_word(n), one, r2, plain_mul(r2, one, n)};
}

uint64_t mod_pow(const Modulus *m, uint64_t a, uint64_t e)
{
    uint64_t r = m->one;
    for (; e; e >>= 1, a = mod_mul(m, a, a))
        if (e & 1)
            r = mod_mul(m, r, a);
    return r;
}

uint64_t mod_inverse(const Modulus *m, uint64_t a)
{
    uint64_t r0 = m->n, r1 = mod_plain(m, a);
    int64_t t0 = 0, t1 = 1;
    while (r1) {
        uint64_t k = r0 / r1, r = r0 - k * r1;
        int64_t t = t0 - (int64_t)k * t1;
        r0 = r1, r1 = r;
        t0 = t1, t1 = t;
    }
    if (r0 != 1)
        return RESIDUE_NONE;
    return mod_of(m, t0 < 0 ? (uint64_t)(t0 + (int64_t)m->n) : (uint64_t)t0);
}

/* ---- parts with flags: NONE swallows, GUESS travels ------------------------------------------------------------------------ */
#define PART(op)                                                                                     \
    static inline uint64_t part_##op(const Modulus *m, uint64_t a, uint64_t b)                        \
    {                                                                                                \
        uint64_t flags = (a | b) & FLAGS;                                                            \
        return flags & RESIDUE_NONE ? RESIDUE_NONE : mod_##op(m, a & ~FLAGS, b & ~FLAGS) | flags;     \
    }
PART(add)
PART(sub)
PART(mul)

static uint64_t part_inverse(const Modulus *m, uint64_t a)
{
    if (a & RESIDUE_NONE)
        return RESIDUE_NONE;
    uint64_t inverse = mod_inverse(m, a & ~FLAGS);
    return inverse == RESIDUE_NONE ? RESIDUE_NONE : inverse | (a & FLAGS);
}

#define BOTH(op) part_##op(&f->p, a.p, b.p), part_##op(&f->q, a.q, b.q)

static bool is_zero(Residue a) { return a.p == 0 && a.q == 0 && a.v == 0; }

Residue residue_add(const ResidueField *f, Residue a, Residue b) { return (Residue){a.v + b.v, BOTH(add)}; }
Residue residue_sub(const ResidueField *f, Residue a, Residue b) { return (Residue){a.v - b.v, BOTH(sub)}; }

Residue residue_mul(const ResidueField *f, Residue a, Residue b)
{
    if ((is_zero(a) && !residue_is_infinite(b)) || (is_zero(b) && !residue_is_infinite(a)))
        return (Residue){0, 0, 0};                         /* also where the other has a part that is not defined */
    return (Residue){a.v * b.v, BOTH(mul)};
}

Residue residue_neg(const ResidueField *f, Residue a)
{
    const Residue b = a;
    a.p = a.q = 0;
    return (Residue){-b.v, BOTH(sub)};
}

Residue residue_fma(const ResidueField *f, Residue a, Residue b, Residue c)
{
    Residue r = residue_add(f, residue_mul(f, a, b), c);
    r.v = fma(a.v, b.v, c.v);
    return r;
}

Residue residue_reciprocal(const ResidueField *f, Residue a)
{
    if (residue_is_infinite(a))
        return (Residue){1 / a.v, 0, 0};
    if (is_zero(a))                                        /* ±0 are one number here: not even the sign is known */
        return (Residue){NAN, RESIDUE_NONE, RESIDUE_NONE};
    return (Residue){1 / a.v, part_inverse(&f->p, a.p), part_inverse(&f->q, a.q)};
}

Residue residue_div(const ResidueField *f, Residue a, Residue b)
{
    Residue r = residue_mul(f, a, residue_reciprocal(f, b));
    r.v = is_zero(b) ? NAN : a.v / b.v;
    return r;
}

Residue residue_guess(Residue a)
{
    return (Residue){a.v, a.p & RESIDUE_NONE ? a.p : a.p | RESIDUE_GUESS, a.q & RESIDUE_NONE ? a.q : a.q | RESIDUE_GUESS};
}

Residue residue_integer(const ResidueField *f, int64_t i)
{
    uint64_t u = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
    Residue r = {(double)u, mod_of(&f->p, u % f->p.n), mod_of(&f->q, u % f->q.n)};
    return i < 0 ? residue_neg(f, r) : r;
}

/* ---- hashes ------------------------------------------------------------------------------------------------------------------- */
static uint64_t mix(uint64_t z)                            /* splitmix64's finaliser */
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint64_t residue_hash(const ResidueField *f, uint64_t name, uint64_t part)
{
    return mix(mix(f->key ^ name * 0x9e3779b97f4a7c15u) + mix(part + 0x632be59bd9b4e019u));
}

static uint64_t part_hash(const ResidueField *f, const Modulus *m, uint64_t name, uint64_t part)
{
    if (part & RESIDUE_NONE)
        return RESIDUE_NONE;
    return residue_hash(f, name, part & ~FLAGS) % m->n | (part & FLAGS);
}

Residue residue_hash1(const ResidueField *f, uint64_t name, Residue a, double v)
{
    return (Residue){v, part_hash(f, &f->p, name, a.p), part_hash(f, &f->q, name, a.q)};
}

Residue residue_hash2(const ResidueField *f, uint64_t name, Residue a, Residue b, double v)
{
    Residue x = residue_hash1(f, name * 2 + 1, a, v), y = residue_hash1(f, name * 2 + 2, b, v);
    x = residue_hash1(f, name, residue_add(f, residue_mul(f, x, y), x), v);
    return x;
}

/* ---- decisions ------------------------------------------------------------------------------------------------------------------ */
#define NEAR 1e-9

static bool same_clean(uint64_t a, uint64_t b) { return a == b && !(a & FLAGS); }

int residue_order(Residue a, Residue b, bool *tie)
{
    *tie = false;
    if (a.v != a.v || b.v != b.v)
        return 2;
    if (same_clean(a.p, b.p) || same_clean(a.q, b.q))
        return 0;
    bool near = a.v == b.v || (fabs(a.v - b.v) <= NEAR * fmax(fabs(a.v), fabs(b.v)) && isfinite(a.v - b.v));
    *tie = near && !(residue_is_infinite(a) && residue_is_infinite(b)) && (a.p != b.p || a.q != b.q);
    return (a.v > b.v) - (a.v < b.v);
}

static Residue choose(Residue a, Residue b, int want, bool *tie)
{
    int order = residue_order(a, b, tie);
    if (order == 2)
        return (Residue){NAN, RESIDUE_NONE, RESIDUE_NONE};
    Residue r = order == 0 || order == want ? a : b;
    return *tie ? residue_guess(r) : r;
}

Residue residue_max(Residue a, Residue b, bool *tie) { return choose(a, b, 1, tie); }
Residue residue_min(Residue a, Residue b, bool *tie) { return choose(a, b, -1, tie); }

Residue residue_round(const ResidueField *f, ResidueRounding r, Residue a)
{
    double v = r == RESIDUE_TRUNC ? trunc(a.v) : r == RESIDUE_FLOOR ? floor(a.v) : r == RESIDUE_CEIL ? ceil(a.v) : nearbyint(a.v);
    if (!(fabs(v) < 0x1p62))
        return (Residue){v, RESIDUE_NONE, RESIDUE_NONE};
    Residue whole = residue_integer(f, (int64_t)v);
    double edge = r == RESIDUE_NEAREST ? fabs(fabs(a.v - v) - 0.5) : fabs(a.v - nearbyint(a.v));
    bool exact = r != RESIDUE_NEAREST && (same_clean(a.p, whole.p) || same_clean(a.q, whole.q));
    whole.v = v;
    return edge <= NEAR * fmax(fabs(a.v), 1) && !exact ? residue_guess(whole) : whole;
}

/* ---- comparing ------------------------------------------------------------------------------------------------------------------ */
typedef struct { bool known, differs, equal, firm; } PartVerdict;        /* firm: equal without a choice */

static PartVerdict compare_part(uint64_t a, uint64_t b)
{
    uint64_t flags = (a | b) & FLAGS;
    if (flags & RESIDUE_NONE)
        return (PartVerdict){0};
    return (PartVerdict){.known = true, .differs = a != b && !flags, .equal = a == b, .firm = a == b && !flags};
}

ResidueVerdict residue_compare(Residue a, Residue b)
{
    bool ia = residue_is_infinite(a), ib = residue_is_infinite(b);
    if (ia && ib)
        return a.v == b.v ? RESIDUE_EQUAL : RESIDUE_DIFFERENT;
    if (ia || ib) {
        Residue other = ia ? b : a;
        bool finite = other.v - other.v == 0 && !((other.p & other.q) & RESIDUE_NONE) && !((other.p | other.q) & RESIDUE_GUESS);
        return finite ? RESIDUE_DIFFERENT : RESIDUE_UNSURE;
    }
    PartVerdict p = compare_part(a.p, b.p), q = compare_part(a.q, b.q);
    if (p.differs || q.differs)
        return RESIDUE_DIFFERENT;
    if (p.firm || q.firm)
        return RESIDUE_EQUAL;
    bool all = (p.equal || !p.known) && (q.equal || !q.known) && (p.known || q.known);
    return all && (a.v != a.v) == (b.v != b.v) ? RESIDUE_EQUAL : RESIDUE_UNSURE;     /* a root of a negative number on one side */
}
