/* The doors of the library, its threads and its memory. */
#include "sanakit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

#define EXPORT __attribute__((visibility("default"))) /* everything else is hidden */

enum Kind { FLOATS, HALVES, DOTS, KINDS }; /* DOTS are HALVES where the processor has products of them */

/* Best first. On ARM the vector extension's 16 bytes are NEON, which every 64-bit processor has. */
static const struct Variant *const variants[][KINDS] = {
#ifdef __x86_64__
    {&variant_avx512, &variant_avx512_halves, &variant_avx512_dots},
    {&variant_avx2, &variant_avx2_halves},
#endif
    {&variant_portable, &variant_portable_halves},
};

static int runs_here(const struct Variant *variant) {
#ifdef __x86_64__
    __builtin_cpu_init();
    if (variant == &variant_avx512) return __builtin_cpu_supports("avx512f");
    if (variant == &variant_avx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    return 1;
}

/* A hash of the sources that it was built from. */
EXPORT const char *sanakit_sources(void) { return SOURCES; }

/* The name of the n-th variant that this processor runs, best first; NULL beyond the last. */
EXPORT const char *sanakit_variant(int n) {
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++)
        if (runs_here(*variants[i]) && n-- == 0) return (*variants[i])->name;
    return NULL;
}

static int has_dots(void) {
#ifdef __x86_64__
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512bf16");
#else
    return 0;
#endif
}

static const struct Variant *named(const char *name, enum Kind kind) {
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++)
        if (strcmp((*variants[i])->name, name) == 0 && runs_here(*variants[i]))
            return variants[i][kind == HALVES && variants[i][DOTS] && has_dots() ? DOTS : kind];
    return NULL;
}

/* Whether it multiplies halves, which the door of their linear layer asks for. */
EXPORT int sanakit_has_dots(const char *variant) {
    const struct Variant *halves = named(variant, HALVES);
    return halves && halves->linear;
}

/* Whether it multiplies bytes, which the door of their linear layer asks for. */
EXPORT int sanakit_has_bytes(const char *variant) {
    const struct Variant *chosen = named(variant, FLOATS);
#ifdef __x86_64__
    if (chosen == &variant_avx512) return __builtin_cpu_supports("avx512vnni");
#endif
    return chosen && chosen->int8_linear;
}

/* The door of a kernel: 0, 1 without memory, 2 for a variant that does not run here. */
#define NAMED_DOOR(name, kernel, Arguments, kind)                                             \
    EXPORT int sanakit_##name(const char *variant, const struct Arguments *arguments) {       \
        const struct Variant *chosen = named(variant, kind);                                  \
        return chosen ? chosen->kernel(arguments) : 2;                                        \
    }
#define DOOR(kernel, Arguments) NAMED_DOOR(kernel, kernel, Arguments, FLOATS)
#define DOOR_OF_HALVES(kernel, Arguments) NAMED_DOOR(kernel##_bfloat16, kernel, Arguments, HALVES)

DOOR_OF_HALVES(conv3x3, Conv3x3)
DOOR_OF_HALVES(gated_depthwise, GatedDepthwise)
DOOR_OF_HALVES(int8_linear, Int8Linear)
DOOR_OF_HALVES(linear, Linear)
DOOR_OF_HALVES(linear_attention, LinearAttention)
DOOR_OF_HALVES(modulated_norm, ModulatedNorm)
DOOR_OF_HALVES(pixel_norm, PixelNorm)
DOOR_OF_HALVES(rms_norm, RmsNorm)
DOOR(conv3x3, Conv3x3)
DOOR(dit_blocks, DitBlocks)
DOOR(gated_depthwise, GatedDepthwise)
DOOR(gated_depthwise_backward, GatedDepthwiseBackward)
DOOR(int8_linear, Int8Linear)
DOOR(linear, Linear)
DOOR(linear_attention, LinearAttention)
DOOR(linear_attention_backward, LinearAttention)
DOOR(modulated_norm, ModulatedNorm)
DOOR(modulated_norm_backward, ModulatedNorm)
DOOR(newton_schulz, NewtonSchulz)
DOOR(pixel_norm, PixelNorm)
DOOR(rms_norm, RmsNorm)
DOOR(rms_norm_backward, RmsNorm)
DOOR(text_attention, TextAttention)
DOOR(text_attention_backward, TextAttention)

struct Team {
    int64_t tasks;
    void (*work)(int64_t, int, void *);
    void *context;
    atomic_llong next;
};

struct Member {
    struct Team *team;
    int number;
};

static void *take_tasks(void *argument) {
    struct Member *member = argument;
    struct Team *team = member->team;
    for (int64_t task; (task = atomic_fetch_add(&team->next, 1)) < team->tasks;)
        team->work(task, member->number, team->context);
    return NULL;
}

/* Threads are made for the call and end with it (some 20 microseconds each): nothing waits, nothing has to survive a
 * fork, and two callers do not meet. Where the system gives no thread, fewer do the work. */
void parallel(int64_t tasks, int threads, void (*work)(int64_t, int, void *), void *context) {
    struct Team team = {.tasks = tasks, .work = work, .context = context};
    pthread_t others[MAX_THREADS];
    struct Member members[MAX_THREADS];
    int made = 0;
    if (threads > tasks) threads = (int)tasks;
    for (int i = 1; i < threads && i < MAX_THREADS; i++, made++) {
        members[i] = (struct Member){&team, i};
        if (pthread_create(&others[i], NULL, take_tasks, &members[i])) break;
    }
    members[0] = (struct Member){&team, 0};
    take_tasks(&members[0]);
    for (int i = 1; i <= made; i++) pthread_join(others[i], NULL);
}

void large_pages(void *memory, size_t bytes) {
#ifdef MADV_HUGEPAGE
    const uintptr_t page = 2u << 20, first = ((uintptr_t)memory + page - 1) / page * page;
    const uintptr_t end = ((uintptr_t)memory + bytes) / page * page;
    if (first < end) madvise((void *)first, end - first, MADV_HUGEPAGE);
#else
    (void)memory, (void)bytes;
#endif
}

/* What calls need while they run. Of memory that malloc takes from the system anew for every call, the system zeroes every
 * page; so while a thread keeps it, what one call gives back is that of the next. */
struct Block {
    size_t floats;
    char line[64 - sizeof(size_t)]; /* the numbers lie as malloc aligns what it gives */
    float at[];
};

enum { LEAST = 1 << 18, MOST = 1 << 24, SLACK = 4 }; /* floats of what is kept, which may be SLACK times what is asked for */

static _Thread_local int keeping;
static _Thread_local struct Block *kept;

/* From now on this thread keeps memory, or gives back what it kept. */
EXPORT void sanakit_keep_memory(int keep) {
    keeping = keep;
    if (keep) return;
    free(kept);
    kept = NULL;
}

float *workspace(size_t floats) {
    struct Block *block = kept;
    if (block && floats >= LEAST && floats <= block->floats && block->floats <= SLACK * floats) {
        kept = NULL;
        return block->at;
    }
    block = malloc(sizeof *block + floats * sizeof(float));
    if (!block) return NULL;
    large_pages(block, sizeof *block + floats * sizeof(float));
    block->floats = floats;
    return block->at;
}

void give_back(float *memory) {
    struct Block *block = (struct Block *)(memory - offsetof(struct Block, at) / sizeof(float));
    if (!keeping || block->floats < LEAST || block->floats > MOST) {
        free(block);
        return;
    }
    free(kept);
    kept = block;
}
