/* The middle of a Mix-FFN in one pass: SiLU, depth-wise 3x3, gate; ../../mix_ffn/README.md has its formula.
 *
 * A task is a strip of channels of one picture, of both halves. It keeps three rows of SiLU(x), with a column of zeros on
 * either side, and moves them down the picture, so that x is read once and nothing but the result is written.
 */
#pragma once

#include "vector.h"

enum { STRIP = 64, TAPS = 9 };

/* What the threads of one call share. */
struct Strips {
    const struct GatedDepthwise *args;
    int64_t across; /* strips of a picture */
    int64_t row;    /* floats of a kept row */
    float *memory;  /* of thread n: three rows, weights and biases, beginning with n * scratch */
    int64_t scratch;
};

/* One row of the picture, from its first pixel and the strip's first channel on. */
static void activate_row(const struct GatedDepthwise *args, const float *x, int64_t channels, float *row) {
    for (int64_t i = 0; i < args->width; i++)
        for (int half = 0; half < 2; half++) {
            const float *from = x + (2 * i + half) * args->channels;
            float *to = row + (2 * (i + 1) + half) * STRIP;
            for (int64_t c = 0; c < channels; c += WIDTH) store(to + c, silu(load(from + c)));
        }
}

/* The sum of nine products and a bias, for WIDTH channels of one pixel; row[1] is that of the pixel. */
static inline Vector nine(const float *const row[3], const float *weights, const float *bias) {
    Vector total = load(bias);
    for (int dy = 0; dy < 3; dy++)
        for (int dx = 0; dx < 3; dx++)
            total += load(row[dy] + dx * 2 * STRIP) * load(weights + (3 * dy + dx) * 2 * STRIP);
    return total;
}

static void filter_strip(int64_t task, int thread, void *context) {
    const struct Strips *strips = context;
    const struct GatedDepthwise *args = strips->args;
    const int64_t picture = task / strips->across, first = task % strips->across * STRIP, inner = args->channels;
    const int64_t channels = inner - first < STRIP ? inner - first : STRIP;
    float *rows = strips->memory + thread * strips->scratch, *weights = rows + 3 * strips->row;
    float *biases = weights + TAPS * 2 * STRIP;
    for (int half = 0; half < 2; half++)
        for (int64_t c = 0; c < channels; c++) {
            const int64_t channel = half * inner + first + c;
            for (int tap = 0; tap < TAPS; tap++)
                weights[(2 * tap + half) * STRIP + c] = args->weight[channel * TAPS + tap];
            biases[half * STRIP + c] = args->bias[channel];
        }
    const float *x = args->x + picture * args->height * args->width * 2 * inner + first;
    float *y = args->y + picture * args->height * args->width * inner + first;
    memset(rows, 0, 3 * strips->row * sizeof(float));
    activate_row(args, x, channels, rows);
    for (int64_t i = 0; i < args->height; i++) {
        float *next = rows + (i + 1) % 3 * strips->row;
        if (i + 1 < args->height) activate_row(args, x + (i + 1) * args->width * 2 * inner, channels, next);
        else memset(next, 0, strips->row * sizeof(float));
        for (int64_t j = 0; j < args->width; j++)
            for (int64_t c = 0; c < channels; c += WIDTH) {
                const float *const value[3] = {
                    rows + (i + 2) % 3 * strips->row + 2 * j * STRIP + c,
                    rows + i % 3 * strips->row + 2 * j * STRIP + c,
                    next + 2 * j * STRIP + c,
                };
                const float *const gate[3] = {value[0] + STRIP, value[1] + STRIP, value[2] + STRIP};
                store(y + (i * args->width + j) * inner + c,
                      nine(value, weights + c, biases + c) * silu(nine(gate, weights + STRIP + c, biases + STRIP + c)));
            }
    }
}

static int gated_depthwise(const struct GatedDepthwise *args) {
    struct Strips strips = {.args = args, .across = (args->channels + STRIP - 1) / STRIP};
    const int64_t tasks = args->batch * strips.across;
    const int64_t busy = args->threads < tasks ? args->threads : tasks;
    strips.row = (args->width + 2) * 2 * STRIP;
    strips.scratch = 3 * strips.row + (TAPS + 1) * 2 * STRIP;
    strips.memory = workspace(busy * strips.scratch);
    if (!strips.memory) return 1;
    parallel(tasks, (int)busy, filter_strip, &strips);
    free(strips.memory);
    return 0;
}
