/* base/philox_loops.h — the loops of philox.c, included once for each instruction set with
 *   ISA(name)       the name of a function in this set
 *   ISA_TARGET      its attribute
 *   ISA_LANES       64-bit lanes of a vector
 *   ISA_MUL(a, b)   products of the low 32 bits of each lane, as 64 bits
 * The order of floating-point operations is fixed and nothing is contracted: all sets give the same bits. */

typedef uint64_t ISA(Lanes) __attribute__((vector_size(8 * ISA_LANES)));

/* Ten rounds on block first + i; the four words as two of 64 bits. A word lives in the low half of a lane; products ignore
 * what gathers in the high half. Compilers do not find this multiplication in plain C, hence the vectors. */
ISA_TARGET static void ISA(blocks)(uint64_t *restrict x, uint64_t *restrict y, uint64_t first, uint64_t key)
{
    typedef ISA(Lanes) V;
    const V zero = {0}, low = zero + 0xffffffffu, m0 = zero + M0, m1 = zero + M1;
    V counter = zero + first;
    for (int k = 0; k < ISA_LANES; k++)
        counter[k] += (uint64_t)k;
    for (int i = 0; i < PHILOX_BLOCK; i += ISA_LANES) {
        V c0 = counter, c1 = counter >> 32, c2 = zero, c3 = zero;
        uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
        for (int round = 0; round < 10; round++) {
            V p0 = ISA_MUL(c0, m0), p1 = ISA_MUL(c2, m1);
            c0 = (p1 >> 32) ^ c1 ^ (uint64_t)k0;
            c2 = (p0 >> 32) ^ c3 ^ (uint64_t)k1;
            c1 = p1;
            c3 = p0;
            k0 += W0;
            k1 += W1;
        }
        V low_word = (c0 & low) | c1 << 32, high_word = (c2 & low) | c3 << 32;
        memcpy(x + i, &low_word, sizeof low_word);
        memcpy(y + i, &high_word, sizeof high_word);
        counter += ISA_LANES;
    }
}

/* u = (x >> 11) * 2^-53, from two exact halves: conversions of 64-bit integers do not vectorise before AVX-512. */
ISA_TARGET static void ISA(uniforms)(double *restrict z, uint64_t *restrict x, uint64_t first, uint64_t key)
{
    uint64_t unused[PHILOX_BLOCK];
    ISA(blocks)(x, unused, first, key);
    for (int i = 0; i < PHILOX_BLOCK; i++)
        z[i] = unit_double(x[i]);
}

/* sqrt(-2 log u) for u in (0, 1]: u = m * 2^e with m in [sqrt(1/2), sqrt(2)), log m after fdlibm's e_log.c. */
ISA_TARGET static void ISA(radii)(double *restrict r, const uint64_t *restrict x)
{
    for (int i = 0; i < PHILOX_BLOCK; i++) {
        double u = unit_double(x[i]) + 0x1p-53;
        uint64_t bits = narrow_bits(u) + 0x00095f619980c433u;             /* carries into the exponent at sqrt(2) */
        double e = narrow_of(bits >> 52 | 0x4330000000000000u) - (0x1p52 + 1023);
        double m = narrow_of((bits & 0x000fffffffffffffu) + 0x3fe6a09e667f3bcdu);
        double f = m - 1, s = f / (2 + f), z = s * s, w = z * z;
        double even = w * (LOG_2 + w * (LOG_4 + w * LOG_6));
        double odd = z * (LOG_1 + w * (LOG_3 + w * (LOG_5 + w * LOG_7)));
        double half = 0.5 * (f * f);
        double log_m_tail = s * (half + (even + odd)) + e * LN2_LOW;
        double log = e * LN2_HIGH - ((half - log_m_tail) - f);
        r[i] = -2 * log;
    }
    SQUARE_ROOTS(r)
}

/* cos and sin of 2 pi u: u = q/4 + t exactly, |t| <= 1/8, polynomials after fdlibm's k_cos.c and k_sin.c. */
ISA_TARGET static void ISA(normals)(double *restrict z, uint64_t first, uint64_t key)
{
    uint64_t x[PHILOX_BLOCK], y[PHILOX_BLOCK];
    double r[PHILOX_BLOCK];
    ISA(blocks)(x, y, first, key);
    ISA(radii)(r, x);
    for (int i = 0; i < PHILOX_BLOCK; i++) {
        double u = unit_double(y[i]), shifted = 4 * u + 0x1.8p52;
        uint64_t q = narrow_bits(shifted);
        double t = u - 0.25 * (shifted - 0x1.8p52), a = t * TWO_PI, s = a * a;
        double sine = a + a * (s * (SIN_1 + s * (SIN_2 + s * (SIN_3 + s * (SIN_4 + s * (SIN_5 + s * SIN_6))))));
        double cosine = 1 - (0.5 * s - s * (s * (COS_1 + s * (COS_2 + s * (COS_3 + s * (COS_4 + s * (COS_5
                             + s * COS_6)))))));
        /* A quarter turn swaps the two; the signs follow the quadrant. As integers: selects without branches. */
        uint64_t swap = 0 - (q & 1), b_sin = narrow_bits(sine), b_cos = narrow_bits(cosine);
        uint64_t from_cos = (b_cos & ~swap) | (b_sin & swap), from_sin = (b_sin & ~swap) | (b_cos & swap);
        z[2 * i] = r[i] * narrow_of(from_cos ^ ((q + 1) & 2) << 62);
        z[2 * i + 1] = r[i] * narrow_of(from_sin ^ (q & 2) << 62);
    }
}

ISA_TARGET static void ISA(to_f32)(float *restrict out, const double *restrict z, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = (float)z[i];
}

ISA_TARGET static void ISA(to_f16)(uint16_t *restrict out, const double *restrict z, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = narrow_f64(z[i], 10, -14, 15);
}

ISA_TARGET static void ISA(to_bf16)(uint16_t *restrict out, const double *restrict z, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = narrow_f64(z[i], 7, -126, 127);
}

#undef ISA
#undef ISA_TARGET
#undef ISA_LANES
#undef ISA_MUL
