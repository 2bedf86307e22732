/* Norms of tokens, forward and, of floats, backward; statistics are made anew on the way back. Channels are a multiple of
 * 16. */
#pragma once

#include "vector.h"

enum { TOKENS = 256 }; /* of a task */

static inline float mean_square(const Number *x, float centre, int64_t channels) {
    Vector squares = {0};
    for (int64_t c = 0; c < channels; c += WIDTH) squares += (read(x + c) - centre) * (read(x + c) - centre);
    return sum(squares) / (float)channels;
}

static void rms_norm_share(int64_t share, int thread, void *context) {
    const struct RmsNorm *args = context;
    const int64_t end = (share + 1) * TOKENS < args->tokens ? (share + 1) * TOKENS : args->tokens;
    (void)thread;
    for (int64_t i = share * TOKENS; i < end; i++) {
        const Number *x = args->x + i * args->row;
        const float scale = 1.0f / __builtin_sqrtf(mean_square(x, 0, args->channels) + args->eps);
        for (int64_t c = 0; c < args->channels; c += WIDTH)
            write(args->y + i * args->channels + c, read(x + c) * scale * read(args->weight + c));
    }
}

static int rms_norm(const struct RmsNorm *args) {
    parallel((args->tokens + TOKENS - 1) / TOKENS, args->threads, rms_norm_share, (void *)args);
    return 0;
}

static inline float mean_of(const Number *x, int64_t channels) {
    Vector total = {0};
    for (int64_t c = 0; c < channels; c += WIDTH) total += read(x + c);
    return sum(total) / (float)channels;
}

static void modulated_norm_share(int64_t share, int thread, void *context) {
    const struct ModulatedNorm *args = context;
    const int64_t all_tokens = args->batch * args->tokens;
    const int64_t end = (share + 1) * TOKENS < all_tokens ? (share + 1) * TOKENS : all_tokens;
    (void)thread;
    for (int64_t i = share * TOKENS; i < end; i++) {
        const Number *x = args->x + i * args->channels;
        const float centre = mean_of(x, args->channels);
        const float inverse = 1.0f / __builtin_sqrtf(mean_square(x, centre, args->channels) + args->eps);
        const Number *scale = args->scale + i / args->tokens * args->scale_row;
        const Number *shift = args->shift + i / args->tokens * args->shift_row;
        for (int64_t c = 0; c < args->channels; c += WIDTH) {
            const Vector value = (read(x + c) - centre) * inverse;
            write(args->y + i * args->channels + c, value * (1.0f + read(scale + c)) + read(shift + c));
        }
    }
}

static int modulated_norm(const struct ModulatedNorm *args) {
    parallel((args->batch * args->tokens + TOKENS - 1) / TOKENS, args->threads, modulated_norm_share, (void *)args);
    return 0;
}

#ifndef HALVES

/* With n = x / rms(x) and g = dy * weight: dx = (g - n * mean(g * n)) / rms(x), and dweight is the sum of dy * n. */
static void rms_norm_backward_share(int64_t share, int thread, void *context) {
    const struct RmsNorm *args = context;
    const int64_t end = (share + 1) * TOKENS < args->tokens ? (share + 1) * TOKENS : args->tokens;
    float *dweight = args->dweight + share * args->channels;
    (void)thread;
    memset(dweight, 0, args->channels * sizeof(float));
    for (int64_t i = share * TOKENS; i < end; i++) {
        const float *x = args->x + i * args->row, *dy = args->dy + i * args->channels;
        const float scale = 1.0f / __builtin_sqrtf(mean_square(x, 0, args->channels) + args->eps);
        Vector along = {0};
        for (int64_t c = 0; c < args->channels; c += WIDTH) along += load(dy + c) * load(args->weight + c) * load(x + c);
        const float back = sum(along) * scale * scale / (float)args->channels;
        for (int64_t c = 0; c < args->channels; c += WIDTH) {
            const Vector value = load(x + c), slope = load(dy + c);
            store(args->dx + i * args->channels + c, (slope * load(args->weight + c) - value * back) * scale);
            store(dweight + c, load(dweight + c) + slope * value * scale);
        }
    }
}

static int rms_norm_backward(const struct RmsNorm *args) {
    parallel((args->tokens + TOKENS - 1) / TOKENS, args->threads, rms_norm_backward_share, (void *)args);
    return 0;
}

/* With n the normalised x and g = dy * (1 + scale): dx = (g - mean(g) - n * mean(g * n)) / deviation. */
static void modulated_norm_backward_picture(int64_t picture, int thread, void *context) {
    const struct ModulatedNorm *args = context;
    const int64_t channels = args->channels, first = picture * args->tokens * channels;
    const float *scale = args->scale + picture * args->scale_row;
    float *dscale = args->dscale + picture * channels, *dshift = args->dshift + picture * channels;
    (void)thread;
    memset(dscale, 0, channels * sizeof(float));
    memset(dshift, 0, channels * sizeof(float));
    for (int64_t i = first; i < first + args->tokens * channels; i += channels) {
        const float *x = args->x + i, *dy = args->dy + i;
        const float centre = mean_of(x, channels);
        const float inverse = 1.0f / __builtin_sqrtf(mean_square(x, centre, channels) + args->eps);
        Vector total = {0}, along = {0};
        for (int64_t c = 0; c < channels; c += WIDTH) {
            const Vector g = load(dy + c) * (1.0f + load(scale + c));
            total += g;
            along += g * (load(x + c) - centre);
        }
        const float mean = sum(total) / (float)channels, back = sum(along) * inverse / (float)channels;
        for (int64_t c = 0; c < channels; c += WIDTH) {
            const Vector slope = load(dy + c), value = (load(x + c) - centre) * inverse;
            store(args->dx + i + c, (slope * (1.0f + load(scale + c)) - mean - value * back) * inverse);
            store(dscale + c, load(dscale + c) + slope * value);
            store(dshift + c, load(dshift + c) + slope);
        }
    }
}

static int modulated_norm_backward(const struct ModulatedNorm *args) {
    parallel(args->batch, args->threads, modulated_norm_backward_picture, (void *)args);
    return 0;
}

#endif
