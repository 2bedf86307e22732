/* Attention by heads, forward and backward: ReLU linear attention of tokens, and softmax attention of tokens to a text.
 *
 * A task is a head of a picture. Tokens are (batch, tokens, heads, size), of which the channels of a head lie together;
 * nothing is kept for the way back.
 */
#pragma once

#include "product.h"

/* Where a head's tokens are. */
static inline const Number *head_at(struct Tokens tokens, int64_t picture, int64_t head) {
    return tokens.at + picture * tokens.picture + head * tokens.head;
}

static inline Number *out_head(Number *at, int64_t heads, int64_t tokens, int64_t picture, int64_t head, int64_t size) {
    return at + (picture * tokens * heads + head) * size;
}

/* Rows of a head, `row` numbers apart, next to one another, those below `rows` zeros, with ReLU where it is wanted. */
static void gather_rows(const Number *from, int64_t row, int64_t count, int64_t rows, int64_t size, int relu, float *to) {
    for (int64_t n = 0; n < count; n++)
        for (int64_t d = 0; d < size; d += WIDTH)
            store(to + n * size + d, activated(read(from + n * row + d), relu ? RELU : NONE));
    memset(to + count * size, 0, (rows - count) * size * sizeof(float));
}

static inline Vector dot(const float *a, const float *b, int64_t size) {
    Vector total = {0};
    for (int64_t d = 0; d < size; d += WIDTH) total += load(a + d) * load(b + d);
    return total;
}

/* y = y * scale + factor * x */
static inline void blend(float *y, float scale, float factor, const float *x, int64_t size) {
    for (int64_t d = 0; d < size; d += WIDTH) store(y + d, load(y + d) * scale + load(x + d) * factor);
}

/* Threads of one call: their memory, and what they compute. */
struct HeadTasks {
    const void *args;
    int64_t heads, scratch;
    float *memory;
};

static int over_heads(struct HeadTasks *tasks, int64_t batch, int threads, void (*work)(int64_t, int, void *)) {
    const int64_t count = batch * tasks->heads, busy = threads < count ? threads : count;
    tasks->memory = workspace(busy * tasks->scratch);
    if (!tasks->memory) return 1;
    parallel(count, (int)busy, work, tasks);
    give_back(tasks->memory);
    return 0;
}

/* ReLU linear attention: the sums over keys, and what a query makes of them. */
struct LinearState {
    float *q, *k, *y;   /* positive queries and keys, and the products with the sums, (tokens, size) */
    float *sums, *total; /* (size, size), (size) */
};

/* The values of a head, as they lie or, of halves, gathered into `spare`. */
static struct Matrix values_of(const struct LinearAttention *args, int64_t picture, int64_t head, float *spare) {
    const Number *values = head_at(args->v, picture, head);
#ifdef HALVES
    gather_rows(values, args->v.token, args->tokens, args->tokens, args->size, 0, spare);
    return rows_of(spare, args->size);
#else
    (void)spare;
    return rows_of(values, args->v.token);
#endif
}

static struct LinearState linear_state(const struct LinearAttention *args, int64_t picture, int64_t head, float *memory) {
    const int64_t n = args->tokens, size = args->size;
    struct LinearState s = {memory, memory + n * size, memory + 2 * n * size, memory + 3 * n * size, NULL};
    s.total = s.sums + size * size;
    gather_rows(head_at(args->q, picture, head), args->q.token, n, n, size, 1, s.q);
    gather_rows(head_at(args->k, picture, head), args->k.token, n, n, size, 1, s.k);
    product(size, n, size, transposed(rows_of(s.k, size)), values_of(args, picture, head, s.y), s.sums, size, 0, 0);
    memset(s.total, 0, size * sizeof(float));
    for (int64_t i = 0; i < n; i++) blend(s.total, 1, 1, s.k + i * size, size);
    product(n, size, size, rows_of(s.q, size), rows_of(s.sums, size), s.y, size, 0, 0);
    return s;
}

static void attend_linearly(int64_t task, int thread, void *context) {
    const struct HeadTasks *tasks = context;
    const struct LinearAttention *args = tasks->args;
    const int64_t picture = task / args->heads, head = task % args->heads, size = args->size;
    const struct LinearState s = linear_state(args, picture, head, tasks->memory + thread * tasks->scratch);
    Number *y = out_head(args->y, args->heads, args->tokens, picture, head, size);
    for (int64_t i = 0; i < args->tokens; i++) {
        const Vector share = all(sum(dot(s.q + i * size, s.total, size)) + args->eps);
        for (int64_t d = 0; d < size; d += WIDTH)
            write(y + i * args->heads * size + d, load(s.y + i * size + d) / share);
    }
}

static int linear_attention(const struct LinearAttention *args) {
    struct HeadTasks tasks = {args, args->heads, 3 * args->tokens * args->size + (args->size + 1) * args->size, NULL};
    return over_heads(&tasks, args->batch, args->threads, attend_linearly);
}

#ifndef HALVES

static inline struct Matrix head_of(struct Tokens tokens, int64_t picture, int64_t head) {
    return rows_of(head_at(tokens, picture, head), tokens.token);
}

static void attend_linearly_backward(int64_t task, int thread, void *context) {
    const struct HeadTasks *tasks = context;
    const struct LinearAttention *args = tasks->args;
    const int64_t picture = task / args->heads, head = task % args->heads, size = args->size, n = args->tokens;
    const int64_t row = args->heads * size, first = (picture * n * args->heads + head) * size;
    float *memory = tasks->memory + thread * tasks->scratch;
    const struct LinearState s = linear_state(args, picture, head, memory);
    float *dsums = s.total + size, *dtotal = dsums + size * size, *shares = dtotal + size;
    const float *dy = args->dy + first;
    float *dq = args->dq + first, *dk = args->dk + first, *dv = args->dv + first;
    memset(dtotal, 0, size * sizeof(float));
    for (int64_t i = 0; i < n; i++) { /* s.y becomes the gradient of the products */
        float *y = s.y + i * size;
        const float share = sum(dot(s.q + i * size, s.total, size)) + args->eps;
        const float dshare = -sum(dot(y, dy + i * row, size)) / share / share;
        for (int64_t d = 0; d < size; d += WIDTH) store(y + d, load(dy + i * row + d) / share);
        blend(dtotal, 1, dshare, s.q + i * size, size);
        shares[i] = dshare;
    }
    product(n, size, size, rows_of(s.y, size), transposed(rows_of(s.sums, size)), dq, row, 0, 0);
    product(size, n, size, transposed(rows_of(s.q, size)), rows_of(s.y, size), dsums, size, 0, 0);
    product(n, size, size, head_of(args->v, picture, head), transposed(rows_of(dsums, size)), dk, row, 0, 0);
    product(n, size, size, rows_of(s.k, size), rows_of(dsums, size), dv, row, 0, 0);
    for (int64_t i = 0; i < n; i++)
        for (int64_t d = 0; d < size; d += WIDTH) {
            const Vector a = load(dq + i * row + d) + shares[i] * load(s.total + d);
            const Vector b = load(dk + i * row + d) + load(dtotal + d);
            store(dq + i * row + d, choose(load(s.q + i * size + d) > 0.0f, a, all(0)));
            store(dk + i * row + d, choose(load(s.k + i * size + d) > 0.0f, b, all(0)));
        }
}

static int linear_attention_backward(const struct LinearAttention *args) {
    const int64_t kept = 3 * args->tokens * args->size + 2 * (args->size + 1) * args->size;
    struct HeadTasks tasks = {args, args->heads, kept + args->tokens, NULL};
    return over_heads(&tasks, args->batch, args->threads, attend_linearly_backward);
}

/* Softmax attention to what is seen of a text: its keys and values next to one another, with zeros up to whole vectors. */
struct TextState {
    int64_t length, padded;
    float *k, *v, *weights, *spare; /* (padded, size) twice, (tokens, padded) twice */
    float *seen;                    /* (padded), 1 or 0 */
};

/* Of scale * x where `seen` is 1, and 0 elsewhere. */
static void softmax(float *x, const float *seen, int64_t length, float scale) {
    Vector highest = all(-__builtin_inff()), total = {0};
    for (int64_t j = 0; j < length; j += WIDTH) {
        const Vector value = choose(load(seen + j) > 0.0f, load(x + j), highest);
        highest = choose(value > highest, value, highest);
    }
    float most = highest[0];
    for (int i = 1; i < WIDTH; i++) most = highest[i] > most ? highest[i] : most;
    for (int64_t j = 0; j < length; j += WIDTH) {
        Vector value = (load(x + j) - most) * scale;
        value = choose(value < -87.0f, all(-87.0f), value);
        value = choose(value > 0.0f, all(0), value); /* of what is not seen */
        value = exponential(value) * load(seen + j);
        store(x + j, value);
        total += value;
    }
    const float share = 1 / sum(total);
    for (int64_t j = 0; j < length; j += WIDTH) store(x + j, load(x + j) * share);
}

static struct TextState text_state(const struct TextAttention *args, int64_t picture, int64_t head, float *memory) {
    const int64_t n = args->tokens, size = args->size;
    const uint8_t *seen = args->seen + picture * args->length;
    const float scale = 1.0f / __builtin_sqrtf((float)size);
    struct TextState s = {.length = args->length};
    while (s.length && !seen[s.length - 1]) s.length--;
    s.padded = (s.length + WIDTH - 1) / WIDTH * WIDTH;
    s.k = memory, s.v = s.k + s.padded * size, s.weights = s.v + s.padded * size, s.spare = s.weights + n * s.padded, s.seen = s.spare + n * s.padded;
    gather_rows(head_at(args->k, picture, head), args->k.token, s.length, s.padded, size, 0, s.k);
    gather_rows(head_at(args->v, picture, head), args->v.token, s.length, s.padded, size, 0, s.v);
    product(n, size, s.padded, head_of(args->q, picture, head), transposed(rows_of(s.k, size)), s.weights, s.padded, 0, 0);
    for (int64_t j = 0; j < s.padded; j++) s.seen[j] = j < s.length && seen[j] ? 1 : 0;
    for (int64_t i = 0; i < n; i++) softmax(s.weights + i * s.padded, s.seen, s.padded, scale);
    return s;
}

static void attend_to_text(int64_t task, int thread, void *context) {
    const struct HeadTasks *tasks = context;
    const struct TextAttention *args = tasks->args;
    const int64_t picture = task / args->heads, head = task % args->heads, size = args->size;
    const struct TextState s = text_state(args, picture, head, tasks->memory + thread * tasks->scratch);
    float *y = out_head(args->y, args->heads, args->tokens, picture, head, size);
    for (int64_t i = 0; !s.length && i < args->tokens; i++) memset(y + i * args->heads * size, 0, size * sizeof(float));
    product(args->tokens, s.length, size, rows_of(s.weights, s.padded), rows_of(s.v, size), y, args->heads * size, 0, 0);
}

static int64_t text_scratch(const struct TextAttention *args) {
    return 2 * (args->length + WIDTH) * (args->size + args->tokens + 1);
}

static int text_attention(const struct TextAttention *args) {
    struct HeadTasks tasks = {args, args->heads, text_scratch(args), NULL};
    return over_heads(&tasks, args->batch, args->threads, attend_to_text);
}

static void attend_to_text_backward(int64_t task, int thread, void *context) {
    const struct HeadTasks *tasks = context;
    const struct TextAttention *args = tasks->args;
    const int64_t picture = task / args->heads, head = task % args->heads, size = args->size, n = args->tokens;
    const int64_t row = args->heads * size, first = (picture * n * args->heads + head) * size;
    const struct TextState s = text_state(args, picture, head, tasks->memory + thread * tasks->scratch);
    const struct Matrix dy = rows_of(args->dy + first, row), q = head_of(args->q, picture, head);
    const float scale = 1.0f / __builtin_sqrtf((float)size);
    float *dk = out_head(args->dk, args->heads, args->length, picture, head, size);
    float *dv = out_head(args->dv, args->heads, args->length, picture, head, size);
    for (int64_t j = s.length; j < args->length; j++) {
        memset(dk + j * row, 0, size * sizeof(float));
        memset(dv + j * row, 0, size * sizeof(float));
    }
    for (int64_t i = 0; !s.length && i < n; i++) memset(args->dq + first + i * row, 0, size * sizeof(float));
    if (!s.length) return;
    product(s.length, n, size, transposed(rows_of(s.weights, s.padded)), dy, dv, row, 0, 0);
    product(n, size, s.padded, dy, transposed(rows_of(s.v, size)), s.spare, s.padded, 0, 0);
    for (int64_t i = 0; i < n; i++) {
        float *slopes = s.spare + i * s.padded;
        const float *weights = s.weights + i * s.padded;
        const float mean = sum(dot(weights, slopes, s.padded));
        for (int64_t j = 0; j < s.padded; j += WIDTH)
            store(slopes + j, load(weights + j) * (load(slopes + j) - mean) * scale);
    }
    product(n, s.length, size, rows_of(s.spare, s.padded), rows_of(s.k, size), args->dq + first, row, 0, 0);
    product(s.length, n, size, transposed(rows_of(s.spare, s.padded)), q, dk, row, 0, 0);
}

static int text_attention_backward(const struct TextAttention *args) {
    struct HeadTasks tasks = {args, args->heads, text_scratch(args), NULL};
    return over_heads(&tasks, args->batch, args->threads, attend_to_text_backward);
}

#endif
