/* base/pool.h — a thread pool: parallel loops over ranges, and independent jobs. */
#pragma once
#include <stdint.h>

typedef struct ThreadPool ThreadPool;
ThreadPool *pool_new(int threads);                 /* <= 0: one per available processor (sched_getaffinity), PAWL_THREADS overrides */
void pool_free(ThreadPool *p);
int  pool_threads(const ThreadPool *p);
/* body(arg, begin, end, worker) over disjoint ranges covering [0, n), each at least `grain`; returns when all are done.
 * The caller takes part. Dynamic: workers take the next range. Reentrant calls run serially. */
void pool_for(ThreadPool *p, int64_t n, int64_t grain, void (*body)(void *arg, int64_t begin, int64_t end, int worker), void *arg);
