/* autotune/search.h — the contest: which of several plans for one thing is fastest, decided by successive halving.
 *
 * All candidates are timed in interleaved blocks; rounds grow while the field shrinks. At the end the first candidate (in the model's
 * order, the incumbent foremost) that is not worse than the fastest beyond doubt wins: a switch needs a confidence bound, ties keep
 * what is there, and picks repeat from run to run. */
#pragma once
#include "autotune/measure.h"
#include <signal.h>

typedef struct SearchCandidate {
    const char *what;               /* schedule, or alternative, as text */
    uint32_t tag;                   /* the caller's number: places change when an incumbent fails */
    double predicted;               /* seconds; 0: unknown */
    const char *rejected;           /* illegal, spills, failed, wrong: why it is not (or no longer) in the contest */
    Context *cx; const Plan *plan;  /* NULL when rejected */
    Samples samples;
    double seconds;                 /* median; NaN when never timed */
} SearchCandidate;

typedef struct SearchOptions {
    MeasureOptions measure;
    double deadline;                /* on clock(); at least one block is timed */
    double (*clock)(void);          /* NULL: clock_seconds */
    uint32_t min_pairs;             /* of a decision; 0: 30 (10 for what takes longer than 30 ms) */
    bool keep_all;                  /* nobody is dropped for being slow: every ratio is asked for */
    const volatile sig_atomic_t *stop;
    void (*progress)(void *arg, const char *best, double best_seconds, double incumbent_seconds);
    void *progress_arg;
    uint64_t seed;
} SearchOptions;

typedef struct SearchResult {
    uint32_t winner;                /* 0 is the incumbent */
    Interval seconds, ratio;        /* the winner's; incumbent / winner */
    uint32_t fastest;               /* by median, may be another within the noise */
    uint32_t tried, rejected, wrong;
    bool complete;                  /* decided; false: the deadline or `stop` came first */
    bool stopped;
} SearchResult;

/* candidates[0] is the incumbent. False: the device or the incumbent failed; diagnosed in candidates[0].cx. */
bool search_run(Measurer *m, SearchCandidate *candidates, uint32_t n, const SearchOptions *o, Arena *a,
                SearchResult *out);
