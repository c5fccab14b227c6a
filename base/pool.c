/* base/pool.c — a parallel loop at a time: sleeping workers are woken, everybody takes ranges from one counter.
 *
 * Ranges shrink as the loop runs out (guided self-scheduling, Polychronopoulos & Kuck 1987): a share of what is left over
 * twice the threads, at least `grain`. */
#include "base/pool.h"
#include "base/diag.h"
#include "base/str.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

typedef struct {
    void  (*body)(void *arg, int64_t begin, int64_t end, int worker);
    void   *arg;
    int64_t n, grain;
    _Atomic int64_t next;
} Loop;

typedef struct { ThreadPool *pool; int number; pthread_t thread; } Worker;

struct ThreadPool {
    int             threads, started;       /* with the caller, who is worker 0; started without */
    Worker         *workers;
    pthread_mutex_t entry;                  /* one loop at a time */
    pthread_mutex_t lock;                   /* guards what follows */
    pthread_cond_t  wake, idle;
    Loop           *loop;
    uint64_t        generation;
    int             busy;
    bool            stop;
};

/* Which worker this thread is while it runs a body, else -1: a loop within a loop runs serially. */
static _Thread_local int inside = -1;

static bool take(Loop *l, int threads, int64_t *begin, int64_t *end)
{
    int64_t from = atomic_load_explicit(&l->next, memory_order_relaxed), to;
    do {
        int64_t left = l->n - from;
        if (left <= 0)
            return false;
        int64_t share = left / (2 * (int64_t)threads);
        share = share > l->grain ? share : l->grain;
        to = left - share < l->grain ? l->n : from + share;
    } while (!atomic_compare_exchange_weak_explicit(&l->next, &from, to, memory_order_relaxed, memory_order_relaxed));
    *begin = from;
    *end = to;
    return true;
}

static void loop_run(Loop *l, int threads, int worker)
{
    int64_t begin, end;
    inside = worker;
    while (take(l, threads, &begin, &end))
        l->body(l->arg, begin, end, worker);
    inside = -1;
}

static void *worker_main(void *arg)
{
    Worker *w = arg;
    ThreadPool *p = w->pool;
    uint64_t seen = 0;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (!p->stop && p->generation == seen)
            pthread_cond_wait(&p->wake, &p->lock);
        if (p->stop)
            break;
        seen = p->generation;
        if (!p->loop)
            continue;              /* woke up after the loop was over */
        Loop *l = p->loop;
        p->busy++;
        pthread_mutex_unlock(&p->lock);
        loop_run(l, p->threads, w->number);
        pthread_mutex_lock(&p->lock);
        if (--p->busy == 0)
            pthread_cond_signal(&p->idle);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static int default_threads(void)
{
    const char *wanted = getenv("PAWL_THREADS");
    int64_t n;
    if (wanted && str_to_i64(wanted, &n) && n > 0 && n <= 4096)
        return (int)n;
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return CPU_COUNT(&set);
    return 1;
}

ThreadPool *pool_new(int threads)
{
    ThreadPool *p = calloc(1, sizeof *p);
    threads = threads > 0 ? threads : default_threads();
    Worker *workers = calloc((size_t)threads, sizeof *workers);
    if (!p || !workers)
        arena_exhausted(sizeof *p + (size_t)threads * sizeof *workers);
    p->threads = threads;
    p->workers = workers;
    pthread_mutex_init(&p->entry, NULL);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    pthread_cond_init(&p->idle, NULL);
    for (int i = 1; i < threads; i++) {
        Worker *w = &workers[p->started];
        *w = (Worker){.pool = p, .number = i};
        if (pthread_create(&w->thread, NULL, worker_main, w) != 0)
            break;                 /* fewer threads do the same work */
        p->started++;
    }
    p->threads = p->started + 1;
    return p;
}

void pool_free(ThreadPool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    for (int i = 0; i < p->started; i++)
        pthread_join(p->workers[i].thread, NULL);
    pthread_cond_destroy(&p->idle);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    pthread_mutex_destroy(&p->entry);
    free(p->workers);
    free(p);
}

int pool_threads(const ThreadPool *p)
{
    return p->threads;
}

static void run_parallel(ThreadPool *p, Loop *l)
{
    pthread_mutex_lock(&p->entry);
    pthread_mutex_lock(&p->lock);
    p->loop = l;
    p->generation++;
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    loop_run(l, p->threads, 0);
    pthread_mutex_lock(&p->lock);
    p->loop = NULL;                /* from here on nobody joins; wait for those who have */
    while (p->busy)
        pthread_cond_wait(&p->idle, &p->lock);
    pthread_mutex_unlock(&p->lock);
    pthread_mutex_unlock(&p->entry);
}

void pool_for(ThreadPool *p, int64_t n, int64_t grain,
              void (*body)(void *arg, int64_t begin, int64_t end, int worker), void *arg)
{
    if (n <= 0)
        return;
    if (grain < 1)
        grain = 1;
    if (inside >= 0 || p->threads == 1 || n < 2 * grain) {
        int outer = inside;
        inside = outer >= 0 ? outer : 0;
        body(arg, 0, n, inside);
        inside = outer;
        return;
    }
    Loop l = {.body = body, .arg = arg, .n = n, .grain = grain};
    run_parallel(p, &l);
}
