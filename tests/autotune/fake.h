/* A measurer without a device: plans are numbers, their times a table with seeded noise, the clock is the sum of what was timed. */
#pragma once
#include "autotune/tuner_internal.h"

#define FAKE_PLANS 64

typedef struct Fake {
    Measurer measurer;
    Plan plans[FAKE_PLANS];             /* only their addresses matter */
    double seconds[FAKE_PLANS];
    double noise;                       /* relative */
    bool wrong[FAKE_PLANS];             /* gives a wrong result */
    bool fails[FAKE_PLANS];             /* cannot be launched */
    bool dead;                          /* the device is gone */
    bool kills[FAKE_PLANS];             /* takes the device with it */
    uint64_t random;
    uint32_t opened, checked, samples;
    uint32_t stop_after;                /* samples; 0: never */
    volatile sig_atomic_t stop;
} Fake;

Fake *fake_new(Arena *a, uint64_t seed);
double fake_clock(void);                /* seconds of the fake device */
void fake_clock_set(double t);
