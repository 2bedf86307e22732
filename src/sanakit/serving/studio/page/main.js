// The page put together: what happens when something is asked for, and when it comes.

import { ask } from "./api.js";
import { at, hush, telling } from "./dom.js";
import "./theme.js";
import "./files.js";
import * as clip from "./clip.js";
import * as control from "./control.js";
import * as editor from "./editor.js";
import * as form from "./form.js";
import * as gallery from "./gallery.js";
import * as live from "./live.js";
import * as queue from "./queue.js";
import * as stage from "./stage.js";
import * as viewer from "./viewer.js";
import * as words from "./words.js";

const PREVIEWS = 8; // of a picture, about

async function opened(sha256) {
  if (!gallery.byHash(sha256)) await gallery.refresh();
  const picture = gallery.byHash(sha256);
  if (picture) await viewer.open(picture);
}

const watch = telling(async (job) => {
  delete at("shown").dataset.live;
  const ended = await stage.follow(job, telling(opened));
  if (!ended) return;
  await Promise.all([gallery.refresh(), queue.refresh()]);
});

// The oldest job that runs takes the stage when it is free.
queue.onChange((running) => {
  if (!stage.followed() && running.length) watch(running[0]);
});

const draw = telling(async () => {
  hush();
  live.end();
  form.nextSeed();
  const wish = form.settings();
  const every = Math.max(1, Math.round(wish.num_inference_steps / PREVIEWS) || 1);
  const number = clip.here() ? {} : { n: form.number() };
  const body = { ...wish, ...control.wish(), ...clip.wish(), ...number, preview_every: every };
  await accepted(await ask("v1/jobs", { method: "POST", body }));
  at("stage").scrollIntoView({ block: "nearest", behavior: "smooth" });
});

async function accepted(job) {
  if (!stage.followed()) watch(job);
  await queue.refresh();
}

editor.onDraw(async (body) => {
  body.append("preview_every", "2");
  await accepted(await ask("v1/jobs", { method: "POST", body }));
});

at("form").addEventListener("submit", (event) => {
  event.preventDefault();
  draw();
});
at("form").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    draw();
  }
});
gallery.onOpen(telling(viewer.open));

telling(async () => {
  const facts = await ask("studio/facts");
  clip.prepare(facts);
  form.prepare(facts);
  control.prepare(facts);
  form.remembered();
  if (!at("seed").value) form.nextSeed();
  words.prepare(facts.words);
  await Promise.all([gallery.refresh(), queue.refresh()]);
})();
