/* Counts what a process asks memory for, and fails the request that it is told to fail.
 *
 * The library is loaded before all others (LD_PRELOAD). Requests are those of malloc and its kin,
 * of mmap for anonymous memory, and of pthread_create, which needs memory for a stack. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

static atomic_long matched, failed, live, peak, pieces;
static atomic_int armed;
static long first_failing;
static int fails_onwards;
static size_t smallest;
static uintptr_t code_start, code_end; /* 0, 0 for requests of any code */

/* Fail the n-th request of at least `above` bytes from code between two addresses, or all from
 * the n-th on; with n = 0 they are counted only. */
void soak_arm(long n, int onwards, size_t above, uintptr_t start, uintptr_t end) {
    first_failing = n, fails_onwards = onwards, smallest = above;
    code_start = start, code_end = end;
    matched = failed = 0;
    armed = 1;
}

long soak_disarm(void) { armed = 0; return matched; }
long soak_failed(void) { return failed; }
long soak_live(void) { return live; }
long soak_pieces(void) { return pieces; }
long soak_peak(void) { return peak; }
void soak_reset_peak(void) { peak = atomic_load(&live); }

static int fails(size_t size, void *caller) {
    if (!armed || size < smallest) return 0;
    uintptr_t code = (uintptr_t)caller;
    if (code_end && (code < code_start || code >= code_end)) return 0;
    long n = ++matched;
    if (!first_failing || n < first_failing || (n > first_failing && !fails_onwards)) return 0;
    failed++;
    errno = ENOMEM;
    return 1;
}

static void add(long bytes) {
    long now = live += bytes, most = peak;
    while (now > most && !atomic_compare_exchange_weak(&peak, &most, now)) {}
}

static void *count(void *memory) {
    if (memory) {
        pieces++;
        add((long)malloc_usable_size(memory));
    }
    return memory;
}

static void uncount(void *memory) {
    if (memory) {
        pieces--;
        add(-(long)malloc_usable_size(memory));
    }
}

#define CALLER __builtin_return_address(0)

void *malloc(size_t size) {
    return fails(size, CALLER) ? NULL : count(__libc_malloc(size));
}

void *calloc(size_t n, size_t size) {
    size_t total;
    if (__builtin_mul_overflow(n, size, &total)) return errno = ENOMEM, NULL;
    return fails(total, CALLER) ? NULL : count(__libc_calloc(n, size));
}

void *realloc(void *memory, size_t size) {
    if (size && fails(size, CALLER)) return NULL;
    size_t before = memory ? malloc_usable_size(memory) : 0;
    void *moved = __libc_realloc(memory, size);
    if (moved || !size) {
        if (memory) {
            pieces--;
            add(-(long)before);
        }
        count(moved);
    }
    return moved;
}

void *memalign(size_t alignment, size_t size) {
    return fails(size, CALLER) ? NULL : count(__libc_memalign(alignment, size));
}

void *aligned_alloc(size_t alignment, size_t size) {
    return fails(size, CALLER) ? NULL : count(__libc_memalign(alignment, size));
}

int posix_memalign(void **place, size_t alignment, size_t size) {
    if (fails(size, CALLER)) return ENOMEM;
    void *memory = count(__libc_memalign(alignment, size));
    if (!memory) return ENOMEM;
    *place = memory;
    return 0;
}

void free(void *memory) {
    int error = errno;
    uncount(memory);
    __libc_free(memory);
    errno = error;
}

void *mmap(void *address, size_t size, int rights, int flags, int file, off_t offset) {
    if ((flags & MAP_ANONYMOUS) && fails(size, CALLER)) return MAP_FAILED;
    return (void *)syscall(SYS_mmap, address, size, rights, flags, file, offset);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*run)(void *), void *given) {
    static int (*original)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (fails(SIZE_MAX, CALLER)) return EAGAIN;
    if (!original) *(void **)&original = dlsym(RTLD_NEXT, "pthread_create");
    return original(thread, how, run, given);
}
