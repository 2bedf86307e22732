// One picture of the gallery: what it was made with, and what can be done with it.

import { ask, pictureBlob, showPicture } from "./api.js";
import * as clip from "./clip.js";
import { at, hush, make, tell, telling } from "./dom.js";
import * as comparer from "./compare.js";
import * as editor from "./editor.js";
import * as form from "./form.js";
import * as gallery from "./gallery.js";
import * as player from "./player.js";

const outcomes = new Map(); // of pictures that were made again
let picture = null;
let first = null; // of two that are to be compared

export async function open(found) {
  picture = found;
  if (first && first !== found) {
    const pair = [first, found];
    first = null;
    gallery.mark(null);
    at("viewer").close();
    await comparer.open(...pair);
    return;
  }
  at("viewer-title").textContent = found.size.replace("x", " × ");
  at("viewer-prompt").textContent = found.prompt || "no prompt";
  at("viewer-picture").alt = found.prompt || "a picture without a prompt";
  at("viewer-told").textContent = "";
  at("viewer-facts").replaceChildren();
  badge();
  const path = gallery.path(found.name);
  if (!found.clip?.video) await showPicture(at("viewer-picture"), path);
  at("download").href = path;
  at("download").download = found.name;
  const place = gallery.all().indexOf(found);
  at("newer").disabled = place <= 0;
  at("older").disabled = place < 0 || place === gallery.all().length - 1;
  if (!at("viewer").open) at("viewer").showModal();
  await player.open(found, path);
  const told = await settings(found).catch((error) => ({ settings: null, lacks: [error.message] }));
  if (picture !== found) return;
  for (const id of ["recall", "replay"]) at(id).disabled = !told.settings;
  facts(told);
}

export const settings = (found) => ask(`${gallery.path(found.name)}/settings`);

export function named(name, value) {
  const text = Array.isArray(value) ? value.map((each) => each.name ? `${each.name} ${each.weight}` : each).join(", ") : String(value);
  return [name.replace("num_inference_steps", "steps").replaceAll("_", " "), text];
}

function facts({ settings: found, lacks }) {
  const shown = Object.entries(found ?? {}).filter(([name, value]) => name !== "prompt" && String(value) !== "");
  at("viewer-facts").replaceChildren(...shown.flatMap(([name, value]) => {
    const [term, text] = named(name, value);
    return [make("dt", {}, term), make("dd", {}, text)];
  }));
  at("viewer-told").textContent = lacks.map((each) => `Note: ${each}.`).join(" ");
}

function badge(text) {
  const outcome = outcomes.get(picture.name);
  at("badge").hidden = !outcome && !text;
  at("badge").textContent = text ?? (outcome === "identical" ? "✓ identical" : outcome ?? "");
  at("badge").dataset.outcome = outcome ?? "";
}

function step(by) {
  const next = gallery.all()[gallery.all().indexOf(picture) + by];
  if (next) telling(open)(next);
}

// What happens in the viewer is told in the viewer, since a dialog covers the page's messages.
const here = (work) => async () => {
  try {
    await work();
  } catch (error) {
    at("viewer-told").textContent = error.message;
    badge();
  }
};

at("viewer-close").addEventListener("click", () => at("viewer").close());
at("newer").addEventListener("click", () => step(-1));
at("older").addEventListener("click", () => step(1));
at("viewer").addEventListener("keydown", (event) => {
  if (event.target.type === "range") return; // whose arrows are frames
  if (event.key === "ArrowLeft") step(-1);
  if (event.key === "ArrowRight") step(1);
});
at("recall").addEventListener("click", here(async () => {
  const path = gallery.path(picture.name);
  const told = await settings(picture);
  form.recall(told.settings);
  if (told.first) await clip.beginWith(await pictureBlob(`${path}/first`));
  hush();
  if (told.lacks.length) tell(told.lacks.map((each) => `Note: ${each}.`).join(" "));
  at("viewer").close();
  at("prompt").focus();
}));
at("edit").addEventListener("click", here(async () => {
  const blob = await pictureBlob(gallery.path(picture.name));
  at("viewer").close();
  await editor.open(blob, picture.prompt, picture.name);
}));
at("replay").addEventListener("click", here(async () => {
  const again = picture;
  badge("is made again …");
  at("replay").disabled = true;
  try {
    const { outcome, differences } = await ask(`${gallery.path(again.name)}/replay`, { method: "POST" });
    outcomes.set(again.name, outcome);
    if (picture === again) at("viewer-told").textContent = differences.map((each) => `${each}.`).join(" ");
  } finally {
    at("replay").disabled = false;
    badge();
  }
}));
at("compare").addEventListener("click", () => {
  first = picture;
  gallery.mark(picture);
  at("viewer").close();
  at("gallery-told").textContent = "Choose the picture to compare it with.";
});
at("delete").addEventListener("click", here(async () => {
  if (at("delete").dataset.sure !== picture.name) {
    at("delete").dataset.sure = picture.name;
    at("viewer-told").textContent = "Press Delete once more to remove the file for good.";
    return;
  }
  const next = gallery.all()[gallery.all().indexOf(picture) + 1];
  await gallery.remove(picture);
  if (next) await open(next);
  else at("viewer").close();
}));
at("viewer").addEventListener("close", () => { at("delete").dataset.sure = ""; });
