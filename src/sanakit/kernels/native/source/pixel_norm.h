/* y = act(x / rms(x) * weight + bias), over the channels of every pixel; y may be x. */
#pragma once

#include "vector.h"

enum { SHARE = 256 }; /* pixels of a task */

static void normalise_pixel(const float *x, const struct PixelNorm *args, float *y) {
    Vector squares = {0};
    for (int64_t c = 0; c < args->channels; c += WIDTH) squares += load(x + c) * load(x + c);
    const float scale = 1.0f / __builtin_sqrtf(sum(squares) / (float)args->channels + args->eps);
    for (int64_t c = 0; c < args->channels; c += WIDTH) {
        const Vector value = load(x + c) * scale * load(args->weight + c) + load(args->bias + c);
        store(y + c, activated(value, args->activation));
    }
}

static void normalise_share(int64_t share, int thread, void *context) {
    const struct PixelNorm *args = context;
    const int64_t first = share * SHARE, end = first + SHARE < args->pixels ? first + SHARE : args->pixels;
    (void)thread;
    for (int64_t i = first * args->channels; i < end * args->channels; i += args->channels)
        normalise_pixel(args->x + i, args, args->y + i);
}

static int pixel_norm(const struct PixelNorm *args) {
    large_pages(args->y, args->pixels * args->channels * sizeof(float));
    parallel((args->pixels + SHARE - 1) / SHARE, args->threads, normalise_share, (void *)args);
    return 0;
}
