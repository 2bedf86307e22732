// Drawing while one types, with models of few steps: the newest wish replaces the one that is under way.

import { events } from "./api.js";
import { at, later, telling } from "./dom.js";
import * as control from "./control.js";
import * as form from "./form.js";
import * as stage from "./stage.js";

const PAUSE = 150; // milliseconds without a key
let stop = new AbortController();

export const end = () => stop.abort();

const sketch = telling(async () => {
  stop.abort();
  if (!at("live").checked || !at("prompt").value.trim() || stage.followed()) return;
  stop = new AbortController();
  if (!at("seed").value) form.nextSeed();
  const controls = control.wish();
  const wish = { ...form.settings(), ...controls, stream: true, partial_images: 0, priority: 50, output_format: "webp" };
  let there = at("shown").childElementCount === 1 && at("shown").dataset.live;
  for await (const news of events("v1/images/generations", { method: "POST", body: wish, signal: stop.signal })) {
    if (!news.b64_json) continue;
    if (!there) stage.present(1, news.size);
    at("shown").dataset.live = "yes";
    there = true;
    stage.preview(0, news.b64_json, "webp");
  }
});

form.onChange(later(sketch, PAUSE));
