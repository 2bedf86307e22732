/* Blocks of the linear diffusion transformer in one call: the kernels of its layers one after the other, and the sums
 * between them as torch rounds them; ../../dit_block/README.md tells why. */
#pragma once

#include "attention.h"
#include "linear.h"
#include "mix_ffn.h"
#include "norms.h"

enum Modulation { SHIFT_1, SCALE_1, GATE_1, SHIFT_2, SCALE_2, GATE_2, MODULATIONS }; /* rows of the table */

/* What the parts of a block work in. */
struct BlockState {
    const struct DitBlock *args;
    int64_t channels, per_picture, tokens; /* tokens of a picture, and of all */
    float *modulation, *branch, *spare;    /* (batch, MODULATIONS, channels), (tokens, channels), what lies between */
};

/* y = y + x */
static inline void add(float *y, const float *x, int64_t count) {
    for (int64_t i = 0; i < count; i += WIDTH) store(y + i, load(y + i) + load(x + i));
}

/* y = x + gate * branch, of a gate for each picture. The product is rounded, in memory, before it is added. */
static void add_gated(const struct BlockState *s, const float *x, enum Modulation gate) {
    const int64_t channels = s->channels;
    for (int64_t i = 0; i < s->tokens; i++) {
        const float *gates = s->modulation + (i / s->per_picture * MODULATIONS + gate) * channels;
        float *branch = s->branch + i * channels, *y = s->args->y + i * channels;
        for (int64_t c = 0; c < channels; c += WIDTH) store(branch + c, load(gates + c) * load(branch + c));
        for (int64_t c = 0; c < channels; c += WIDTH) store(y + c, load(x + i * channels + c) + load(branch + c));
    }
}

static int projected(const struct BlockState *s, struct Projection layer, const float *x, int64_t rows, int64_t in, int64_t out,
                     float *y) {
    const struct Linear args = {x, layer.weight, layer.bias, y, rows, in, out, s->args->threads};
    return linear(&args);
}

/* Of rows that lie `row` numbers apart. */
static void normed(const struct BlockState *s, const float *x, int64_t row, int64_t rows, const float *weight, float *y) {
    const struct RmsNorm args = {
        .x = x, .weight = weight, .y = y, .tokens = rows, .channels = s->channels, .row = row,
        .eps = s->args->weights->norm_eps, .threads = s->args->threads};
    rms_norm(&args);
}

/* To the branch. */
static void modulated(const struct BlockState *s, const float *x, enum Modulation shift, enum Modulation scale) {
    const struct ModulatedNorm args = {
        .x = x, .shift = s->modulation + shift * s->channels, .scale = s->modulation + scale * s->channels, .y = s->branch,
        .batch = s->args->batch, .tokens = s->per_picture, .channels = s->channels, .shift_row = MODULATIONS * s->channels,
        .scale_row = MODULATIONS * s->channels, .eps = s->args->weights->layer_eps, .threads = s->args->threads};
    modulated_norm(&args);
}

/* Heads of `size` channels, of tokens that are `row` numbers apart. */
static struct Tokens in_heads(const struct BlockState *s, const float *at, int64_t row, int64_t size) {
    return (struct Tokens){at, s->per_picture * row, row, size};
}

/* y = x + gate * attention(norm(x)) */
static int attend_to_tokens(const struct BlockState *s) {
    const struct DitBlock *args = s->args;
    const struct BlockWeights *weights = args->weights;
    const int64_t channels = s->channels, row = 3 * channels, size = weights->head, numbers = s->tokens * channels;
    float *qkv = s->spare, *q = qkv + 3 * numbers, *k = q + numbers, *mixed = k + numbers;
    struct LinearAttention attention = {
        .q = in_heads(s, qkv, row, size), .k = in_heads(s, qkv + channels, row, size),
        .v = in_heads(s, qkv + 2 * channels, row, size), .y = mixed, .batch = args->batch, .heads = channels / size,
        .tokens = s->per_picture, .size = size, .eps = weights->attention_eps, .threads = args->threads};
    modulated(s, args->x, SHIFT_1, SCALE_1);
    if (projected(s, weights->qkv, s->branch, s->tokens, channels, row, qkv)) return 1;
    if (weights->norm_q) {
        normed(s, qkv, row, s->tokens, weights->norm_q, q);
        normed(s, qkv + channels, row, s->tokens, weights->norm_k, k);
        attention.q = in_heads(s, q, channels, size), attention.k = in_heads(s, k, channels, size);
    }
    if (linear_attention(&attention)) return 1;
    if (projected(s, weights->out, mixed, s->tokens, channels, channels, s->branch)) return 1;
    add_gated(s, args->x, GATE_1);
    return 0;
}

/* y = y + cross-attention(y) of `count` pictures, one after the other. */
static int attend_to_texts(const struct BlockState *s, int64_t first, int64_t count) {
    const struct DitBlock *args = s->args;
    const struct BlockWeights *weights = args->weights;
    const int64_t channels = s->channels, tokens = count * s->per_picture, numbers = tokens * channels;
    float *y = args->y + first * s->per_picture * channels, *q = s->spare, *own = q + numbers, *mixed = own + numbers;
    struct TextAttention attention = {
        .q = in_heads(s, weights->norm_text ? own : q, channels, weights->text_head), .k = args->keys, .v = args->values,
        .seen = args->seen + first * args->length, .y = mixed, .batch = count, .heads = channels / weights->text_head,
        .tokens = s->per_picture, .length = args->length, .size = weights->text_head, .threads = args->threads};
    attention.k.at += first * attention.k.picture, attention.v.at += first * attention.v.picture;
    if (projected(s, weights->query, y, tokens, channels, channels, q)) return 1;
    if (weights->norm_text) normed(s, q, channels, tokens, weights->norm_text, own);
    if (text_attention(&attention)) return 1;
    if (projected(s, weights->text_out, mixed, tokens, channels, channels, s->branch)) return 1;
    add(y, s->branch, numbers);
    return 0;
}

/* The same of all, of which some see one token alone. */
static int attend_to_text_of_each(const struct BlockState *s) {
    const struct DitBlock *args = s->args;
    for (int64_t picture = 0, end; picture < args->batch; picture = end) {
        const float *same = args->same[picture];
        for (end = picture + 1; !same && end < args->batch && !args->same[end];) end++;
        if (!same && attend_to_texts(s, picture, end - picture)) return 1;
        for (int64_t i = picture * s->per_picture; same && i < end * s->per_picture; i++)
            add(args->y + i * s->channels, same, s->channels);
    }
    return 0;
}

/* y = y + gate * Mix-FFN(norm(y)) */
static int feed_forward(const struct BlockState *s) {
    const struct DitBlock *args = s->args;
    const struct BlockWeights *weights = args->weights;
    const int64_t channels = s->channels, inner = weights->inner;
    float *wide = s->spare, *gated = wide + 2 * s->tokens * inner;
    const struct GatedDepthwise middle = {wide, weights->depthwise.weight, weights->depthwise.bias, gated, args->batch,
                                          args->height, args->width, inner, args->threads};
    modulated(s, args->y, SHIFT_2, SCALE_2);
    if (projected(s, weights->expand, s->branch, s->tokens, channels, 2 * inner, wide)) return 1;
    if (gated_depthwise(&middle)) return 1;
    if (projected(s, weights->project, gated, s->tokens, inner, channels, s->branch)) return 1;
    add_gated(s, args->y, GATE_2);
    return 0;
}

static int dit_block(const struct DitBlock *args, float *memory) {
    const int64_t channels = args->weights->channels, table = MODULATIONS * channels;
    const int64_t per_picture = args->height * args->width, tokens = args->batch * per_picture;
    float *branch = memory + args->batch * table;
    const struct BlockState s = {args, channels, per_picture, tokens, memory, branch, branch + tokens * channels};
    memcpy(memory, args->modulation, args->batch * table * sizeof(float));
    for (int64_t picture = 0; picture < args->batch; picture++) add(memory + picture * table, args->weights->table, table);
    return attend_to_tokens(&s) || attend_to_text_of_each(&s) || feed_forward(&s);
}

/* Numbers that a block works in. */
static int64_t block_memory(const struct DitBlock *args) {
    const int64_t channels = args->weights->channels, inner = args->weights->inner;
    const int64_t between = 6 * channels > 3 * inner ? 6 * channels : 3 * inner;
    return args->batch * (MODULATIONS * channels + args->height * args->width * (channels + between));
}

static int dit_blocks(const struct DitBlocks *args) {
    float *memory = workspace(block_memory(args->blocks));
    int failed = !memory;
    for (int64_t i = 0; !failed && i < args->count; i++) failed = dit_block(args->blocks + i, memory);
    if (memory) give_back(memory);
    return failed;
}
