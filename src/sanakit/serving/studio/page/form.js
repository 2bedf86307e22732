// The form: what the model can do, what is asked for, and what is remembered of it.

import * as clip from "./clip.js";
import { at, make } from "./dom.js";

const MAX_SEED = 2 ** 32;
let facts = null;
let others = {}; // recalled settings that have no field of their own
const changed = new Set();

export const onChange = (listener) => changed.add(listener);
export const model = () => facts;

export function prepare(found) {
  facts = found;
  at("model").textContent = found.model;
  for (const { shape, sizes } of found.shapes) at("shapes").append(shapeButton(shape, sizes));
  for (const name of found.styles) at("style").append(make("option", { value: name, textContent: name.replaceAll("-", " ") }));
  for (const name of found.adapters) at("adapters").append(adapterRow(name));
  at("style-field").hidden = !found.styles.length;
  at("adapters-field").hidden = !found.adapters.length;
  at("negative-field").hidden = !found.negative_prompt;
  at("live-field").hidden = !found.few_steps || clip.here();
  at("steps").max = found.few_steps ? 16 : 60;
  usual();
  at("form").addEventListener("input", note);
  at("shapes").addEventListener("change", sizesOfShape);
  at("dice").addEventListener("click", () => { rollSeed(); note(); });
  at("lock").addEventListener("click", () => { lock(!isLocked()); note(); });
  at("seed").addEventListener("input", () => lock(true));
  at("usual").addEventListener("click", () => { usual(); note(); });
}

const place = () => (clip.here() ? "clip-form" : "form");

function note() {
  tellSliders();
  localStorage.setItem(place(), JSON.stringify({ ...settings(), n: at("number").value, locked: isLocked(), live: at("live").checked }));
  for (const listener of changed) listener();
}

function shapeButton(shape, sizes) {
  const [width, height] = shape.split(":").map(Number);
  const longest = Math.max(width, height);
  const icon = make("i", { ariaHidden: "true" });
  icon.style.width = `${(22 * width) / longest}px`;
  icon.style.height = `${(22 * height) / longest}px`;
  const input = make("input", { type: "radio", name: "shape", value: shape });
  input.dataset.sizes = sizes.join(" ");
  return make("label", {}, input, icon, shape);
}

function adapterRow(name) {
  const use = make("input", { type: "checkbox", value: name });
  const weight = make("input", { type: "range", min: "-1", max: "2", step: "0.05", value: "1", ariaLabel: `Weight of ${name}` });
  const told = make("output", {}, "1");
  weight.addEventListener("input", () => { told.value = weight.value; use.checked = true; });
  return make("div", { className: "adapter" }, make("label", {}, use, ` ${name}`), weight, told);
}

const adapterRows = () => [...at("adapters").children].map((row) => row.querySelectorAll("input"));
const isLocked = () => at("lock").ariaPressed === "true";

function lock(on) {
  at("lock").ariaPressed = String(on);
}

function rollSeed() {
  at("seed").value = String(crypto.getRandomValues(new Uint32Array(1))[0] % MAX_SEED);
}

// Before a picture: another seed, unless this one is kept.
export function nextSeed() {
  if (!isLocked() || !at("seed").value) rollSeed();
}

function tellSliders() {
  at("steps-told").value = at("steps").value;
  at("guidance-told").value = Number(at("guidance").value).toFixed(1);
}

function sizesOfShape() {
  const sizes = at("shapes").querySelector(":checked").dataset.sizes.split(" ");
  const place = at("size").selectedIndex;
  at("size").replaceChildren(...sizes.map((size) => make("option", { value: size, textContent: size.replace("x", " × ") })));
  at("size").selectedIndex = Math.max(0, Math.min(place, sizes.length - 1));
}

function setSize(size) {
  const shapes = [...at("shapes").querySelectorAll("input")];
  const known = shapes.find((each) => each.dataset.sizes.split(" ").includes(size));
  if (known) known.checked = true;
  sizesOfShape();
  if (!known) at("size").append(make("option", { value: size, textContent: size.replace("x", " × ") }));
  at("size").value = size;
}

// All settings but the texts as the model has them.
export function usual() {
  const { size, num_inference_steps: steps, guidance_scale: guidance } = facts.defaults;
  setSize(size);
  at("steps").value = steps;
  at("guidance").value = guidance;
  at("upscale").value = "1";
  at("style").value = "";
  at("number").value = "1";
  for (const [use, weight] of adapterRows()) { use.checked = false; weight.value = "1"; weight.nextSibling.value = "1"; }
  clip.usual();
  setOthers({});
  tellSliders();
}

// What the images API is to be told; prompts as they were written.
export function settings() {
  const adapters = adapterRows().filter(([use]) => use.checked).map(([use, weight]) => ({ name: use.value, weight: Number(weight.value) }));
  const wish = {
    prompt: at("prompt").value,
    size: at("size").value,
    num_inference_steps: Number(at("steps").value),
    guidance_scale: Number(at("guidance").value),
    seed: Number(at("seed").value) || 0,
    ...clip.settings(),
    ...others,
  };
  if (at("negative").value.trim() && facts.negative_prompt) wish.negative_prompt = at("negative").value;
  if (at("upscale").value !== "1") wish.upscale = Number(at("upscale").value);
  if (at("style").value) wish.style = at("style").value;
  if (adapters.length) wish.adapters = adapters;
  if (wish.angles) delete wish.num_inference_steps;
  return wish;
}

export const number = () => Math.min(10, Math.max(1, Math.round(Number(at("number").value)) || 1));

// The same the other way: every field says what a picture was made with.
export function recall(wish, { keepSeed = true } = {}) {
  const { prompt, negative_prompt, size, num_inference_steps, guidance_scale, seed, upscale, style, adapters, n, locked, live, ...rest } = wish;
  usual();
  at("prompt").value = prompt ?? "";
  at("negative").value = negative_prompt ?? "";
  if (size) setSize(size);
  if (num_inference_steps > Number(at("steps").max)) at("steps").max = num_inference_steps;
  if (guidance_scale > Number(at("guidance").max)) at("guidance").max = guidance_scale;
  if (num_inference_steps) at("steps").value = num_inference_steps;
  if (guidance_scale !== undefined) at("guidance").value = guidance_scale;
  at("upscale").value = String(upscale ?? 1);
  at("style").value = style ?? "";
  at("number").value = n ?? 1;
  at("seed").value = seed ?? "";
  at("live").checked = Boolean(live);
  lock(keepSeed);
  for (const { name, weight } of adapters ?? []) {
    const row = adapterRows().find(([use]) => use.value === name);
    if (row) { row[0].checked = true; row[1].value = weight; row[1].nextSibling.value = weight; }
  }
  setOthers(clip.recall(rest));
  tellSliders();
  note();
}

function setOthers(found) {
  others = found;
  at("others").replaceChildren(...Object.entries(found).map(([name, value]) => {
    const text = `${name.replaceAll("_", " ")} ${typeof value === "object" ? JSON.stringify(value) : value}`;
    const chip = make("button", { type: "button", textContent: `${text} ✕`, title: "Leave it out" });
    chip.addEventListener("click", () => { const { [name]: _, ...left } = others; setOthers(left); note(); });
    return chip;
  }));
}

export function remembered() {
  try {
    const form = JSON.parse(localStorage.getItem(place()) ?? "null");
    if (form) recall(form, { keepSeed: form.locked });
  } catch {
    localStorage.removeItem(place());
  }
}
