/* base/residue_constant.c — literals and draws. A literal is rounded to f32 first, so that graphs (in decimal) and kernels (in
 * bits) mean the same; then the first of these that is within a rounding of it: an integer, a short binary fraction, a
 * decimal of six digits, a few times a known unit, a fraction with a small denominator, 1/n, a small fraction of a known unit; else
 * the number as it is. */
#include "base/residue_internal.h"
#include "base/philox.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define WITHIN 1.2e-7

static bool near(double a, double b) { return fabs(a - b) <= WITHIN * fabs(b); }

static Residue fraction(const ResidueField *f, int64_t a, int64_t b)
{
    return residue_div(f, residue_integer(f, a), residue_integer(f, b));
}

static Residue scaled_integer(const ResidueField *f, int64_t i, int base, int exponent)     /* i * base^exponent */
{
    Residue r = residue_integer(f, base), power = residue_integer(f, 1);
    for (int e = abs(exponent); e > 0; e--)
        power = residue_mul(f, power, r);
    Residue whole = residue_integer(f, i);
    return exponent < 0 ? residue_div(f, whole, power) : residue_mul(f, whole, power);
}

static Residue binary(const ResidueField *f, double v)
{
    int exponent;
    double m = frexp(v, &exponent);
    return scaled_integer(f, (int64_t)ldexp(m, 53), 2, exponent - 53);
}

static bool decimal(const ResidueField *f, double v, Residue *r)
{
    char text[32];
    snprintf(text, sizeof text, "%.5e", v);                /* d.ddddde±xx: rounded to six digits, exactly */
    if (!near(strtod(text, NULL), v))
        return false;
    int64_t digits = 0;
    const char *c = text;
    for (; *c != 'e'; c++)
        if (*c >= '0' && *c <= '9')
            digits = digits * 10 + (*c - '0');
    *r = scaled_integer(f, digits, 10, (int)strtol(c + 1, NULL, 10) - 5);
    return true;
}

/* The first convergent of v's continued fraction that is near enough; v > 0. */
static bool small_fraction(double v, int64_t limit_a, int64_t limit_b, int64_t *a, int64_t *b)
{
    double x = v;
    int64_t a0 = 0, b0 = 1, a1 = 1, b1 = 0;
    for (int i = 0; i < 16; i++) {
        double whole = floor(x);
        if (whole > 1e9)
            return false;
        int64_t k = (int64_t)whole, a2 = k * a1 + a0, b2 = k * b1 + b0;
        if (a2 > limit_a || b2 > limit_b)
            return false;
        a0 = a1, b0 = b1, a1 = a2, b1 = b2;
        if (a1 > 0 && near((double)a1 / (double)b1, v)) {
            *a = a1;
            *b = b1;
            return true;
        }
        if (x == whole)
            return false;
        x = 1 / (x - whole);
    }
    return false;
}

static bool known_multiple(const ResidueField *f, double v, int most, Residue *r)
{
    int64_t a, b;
    for (uint32_t i = 0; i < f->n_units; i++) {
        int small = f->unit[i].small < most ? f->unit[i].small : most;
        if (small_fraction(v / f->unit[i].v, small, small, &a, &b)) {
            *r = residue_mul(f, fraction(f, a, b), f->unit[i].r);
            return true;
        }
    }
    return false;
}

static Residue snap(const ResidueField *f, double v)       /* v > 0, finite */
{
    int exponent;
    Residue r;
    int64_t a, b;
    double short_bits = ldexp(frexp(v, &exponent), 10);
    if (short_bits == trunc(short_bits))
        return binary(f, v);
    if (decimal(f, v, &r))
        return r;
    if (known_multiple(f, v, 4, &r))                       /* before 355/113 */
        return r;
    if (small_fraction(v, 1 << 12, 256, &a, &b) || small_fraction(v, 16, 1 << 20, &a, &b))
        return fraction(f, a, b);
    return known_multiple(f, v, 64, &r) ? r : binary(f, v);
}

Residue residue_constant(const ResidueField *f, double v)
{
    if (v - v != 0)
        return (Residue){v, RESIDUE_NONE, RESIDUE_NONE};
    Residue r;
    double narrow = (double)(float)v, m = fabs(narrow) > 0 && narrow - narrow == 0 ? narrow : v;
    if (fabs(v) < 0x1p62 && v == trunc(v))
        r = residue_integer(f, (int64_t)v);
    else
        r = snap(f, fabs(m));
    if (m < 0 && v != trunc(v))
        r = residue_neg(f, r);
    r.v = v;
    return r;
}

/* ---- units ---------------------------------------------------------------------------------------------------------------- */
static void add_unit(ResidueField *f, double v, Residue r, int small)
{
    r.v = v;
    f->unit[f->n_units++] = (Unit){v, r, small};
}

/* A number about which nothing is known but that it is positive. */
static Residue symbol(const ResidueField *f, uint64_t name, double v)
{
    Residue r = residue_hash1(f, 0x200 + name, residue_integer(f, (int64_t)name), v);
    r = residue_mul(f, r, r);
    r.v = v;
    return r;
}

static Residue square_root(const ResidueField *f, Residue a) { return residue_function(f, RF_SQRT, a); }

void field_constants(ResidueField *f)
{
    const double pi = 3.14159265358979323846, ln2 = 0.69314718055994530942, ln10 = 2.30258509299404568402;
    Residue p = symbol(f, 1, pi), root_pi = square_root(f, p), alpha = symbol(f, 2, 1.6732632423543772848), lambda = symbol(f, 3, 1.0507009873554804934);
    f->half = fraction(f, 1, 2);
    f->ln2 = symbol(f, 4, ln2);                            /* 2 = e^ln2 mod p: exp2 and literals agree */
    f->ln2.q = field_log(f, residue_integer(f, 2).p);
    f->log2_e = residue_reciprocal(f, f->ln2);
    f->ln10 = symbol(f, 5, ln10);
    f->ln10.q = field_log(f, residue_integer(f, 10).p);
    Residue e = residue_function(f, RF_EXP, residue_integer(f, 1));
    e.q = symbol(f, 6, e.v).q;

    static const int square_free[] = {2, 3, 5, 6, 7, 10, 11, 13, 14, 15, 17, 19, 21, 22, 23, 26, 29, 30};
    add_unit(f, ln2, f->ln2, 64);
    add_unit(f, 1 / ln2, f->log2_e, 64);
    add_unit(f, sqrt(2), square_root(f, residue_integer(f, 2)), 64);
    add_unit(f, pi, p, 64);
    add_unit(f, 1 / pi, residue_reciprocal(f, p), 64);
    add_unit(f, ln10, f->ln10, 64);
    add_unit(f, 1 / ln10, residue_reciprocal(f, f->ln10), 64);
    add_unit(f, ln2 / ln10, residue_div(f, f->ln2, f->ln10), 16);
    add_unit(f, ln10 / ln2, residue_div(f, f->ln10, f->ln2), 16);
    add_unit(f, e.v, e, 16);
    add_unit(f, sqrt(pi), root_pi, 16);
    add_unit(f, 1 / sqrt(pi), residue_reciprocal(f, root_pi), 16);
    add_unit(f, sqrt(2 / pi), residue_div(f, f->unit[2].r, root_pi), 64);
    add_unit(f, sqrt(2 * pi), residue_mul(f, f->unit[2].r, root_pi), 16);
    add_unit(f, alpha.v, alpha, 4);
    add_unit(f, lambda.v, lambda, 4);
    add_unit(f, alpha.v * lambda.v, residue_mul(f, alpha, lambda), 4);
    for (uint32_t i = 0; i < sizeof square_free / sizeof *square_free; i++) {
        Residue root = square_root(f, residue_integer(f, square_free[i]));
        if (i)
            add_unit(f, root.v, root, 64);
        add_unit(f, root.v / ln2, residue_mul(f, root, f->log2_e), 64);       /* an attention's scale, times log2 e */
    }
}

/* ---- draws ---------------------------------------------------------------------------------------------------------------- */
Residue residue_draw(const ResidueField *f, uint64_t key, uint64_t index, ResidueSign s)
{
    uint32_t w[4], u[4];
    philox4x32(w, index, 0, key ^ f->key);
    philox4x32(u, index, 1, key ^ f->key);
    uint64_t a = w[0] | (uint64_t)w[1] << 32, b = w[2] | (uint64_t)w[3] << 32, c = u[0] | (uint64_t)u[1] << 32;
    Residue r = {exp2((double)(c >> 11) * 0x1p-53 * 9 - 3), a % f->p.n, b % f->q.n};
    r.p = mod_mul(&f->p, r.p, r.p);
    r.q = mod_mul(&f->q, r.q, r.q);
    return s == RESIDUE_ANY_SIGN && (u[2] & 1) ? residue_neg(f, r) : r;
}
