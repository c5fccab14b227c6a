/* base/residue_internal.h — what residue.c (arithmetic), residue_functions.c and residue_field.c (tables, constants) share. */
#pragma once
#include "base/residue.h"

#define FLAGS (RESIDUE_NONE | RESIDUE_GUESS)
typedef struct { uint64_t n, negated_inverse, one, r2, r3; } Modulus;         /* 1, R^2 and R^3 with R = 2^64, all mod n */

enum { EXP_WINDOW = 6, EXP_WINDOWS = 10, LOG_PRIMES = 3, BABY_STEPS = 1 << 14, BABY_SLOTS = 1 << 15 };
typedef struct {                     /* the subgroup of order q mod p, and the field of q elements */
    uint32_t q, giants;
    uint64_t cofactor;               /* (p - 1) / q: powers lie in the subgroup */
    uint64_t giant;                  /* base^-BABY_STEPS */
    uint64_t *key; uint16_t *index;  /* hash table of base^i, 0 <= i < BABY_STEPS; key 0: empty */
    uint64_t lift;                   /* 1 mod q, 0 mod the other two; times R^2 */
} LogGroup;

typedef struct { double v; Residue r; int small; } Unit;  /* a constant; multiples by fractions up to small/small are known */
enum { MAX_UNITS = 64 };

struct ResidueField {
    Modulus p, q;
    uint64_t key;
    uint64_t w;                      /* generates the squares mod p */
    uint64_t *exp_table;             /* w^(d * 64^k) */
    LogGroup group[LOG_PRIMES];
    Residue ln2, log2_e, ln10, half;
    Unit unit[MAX_UNITS]; uint32_t n_units;
};

static inline uint64_t mod_mul(const Modulus *m, uint64_t a, uint64_t b)
{
    unsigned __int128 t = (unsigned __int128)a * b;
    uint64_t k = (uint64_t)t * m->negated_inverse;
    uint64_t r = (uint64_t)((t + (unsigned __int128)k * m->n) >> 64);
    return r >= m->n ? r - m->n : r;
}
static inline uint64_t mod_add(const Modulus *m, uint64_t a, uint64_t b) { uint64_t r = a + b; return r >= m->n ? r - m->n : r; }
static inline uint64_t mod_sub(const Modulus *m, uint64_t a, uint64_t b) { return a >= b ? a - b : a + m->n - b; }
static inline uint64_t mod_of(const Modulus *m, uint64_t plain) { return mod_mul(m, plain, m->r2); }       /* plain < n */
static inline uint64_t mod_plain(const Modulus *m, uint64_t a) { return mod_mul(m, a, 1); }

Modulus  modulus_new(uint64_t n);
uint64_t mod_pow(const Modulus *m, uint64_t a, uint64_t e);
uint64_t mod_inverse(const Modulus *m, uint64_t a);                           /* RESIDUE_NONE: there is none */
uint64_t residue_hash(const ResidueField *f, uint64_t name, uint64_t part);
Residue  residue_hash1(const ResidueField *f, uint64_t name, Residue a, double v);
/* Parts; the results carry flags. */
uint64_t field_exp(const ResidueField *f, uint64_t q_part);                   /* Q-part -> p-part */
uint64_t field_log(const ResidueField *f, uint64_t p_part);                   /* p-part -> Q-part */
uint64_t field_sqrt_p(const ResidueField *f, uint64_t p_part);
uint64_t field_sqrt_q(const ResidueField *f, uint64_t q_part);
void     field_constants(ResidueField *f);                                    /* ln 2 …, and the units of snapping */
