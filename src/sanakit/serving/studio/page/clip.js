// What clips have beside pictures: their length, their rate, how much moves, and the picture that they begin with.

import { at } from "./dom.js";
import { pictureAsUrl } from "./reading.js";

let facts = null; // of a model of clips
let first = null; // as a data URL

export function prepare(found) {
  facts = found.clips;
  at("clip-field").hidden = !facts;
  if (!facts) return;
  for (const id of ["upscale-field", "number-field"]) at(id).hidden = true;
  at("frames").min = 1;
  at("frames").step = facts.temporal;
  at("frames").addEventListener("input", tellSeconds);
  at("fps").addEventListener("input", tellSeconds);
  at("draw").textContent = "Film";
  at("empty").textContent = "Say what should happen, and press Film.";
}

export const here = () => facts !== null;

function tellSeconds() {
  const seconds = Number(at("frames").value) / Number(at("fps").value);
  at("seconds").value = Number.isFinite(seconds) ? `${seconds.toFixed(1)} s` : "";
}

export function usual() {
  if (facts) recall(facts);
}

// The fields say what a clip was made with; gives the settings that are none of theirs.
export function recall(wish) {
  if (!facts) return wish;
  const { num_frames, fps, motion_score, temporal, format, ...rest } = wish;
  at("frames").value = num_frames ?? facts.num_frames;
  at("fps").value = fps ?? facts.fps;
  at("motion").value = motion_score ?? facts.motion_score;
  tellSeconds();
  show(null);
  return rest;
}

// In the names of the videos API; a field that was emptied is the model's own.
export function settings() {
  if (!facts) return {};
  const told = { num_frames: at("frames").value, fps: at("fps").value, motion_score: at("motion").value };
  return Object.fromEntries(Object.entries(told).filter(([, text]) => text !== "").map(([name, text]) => [name, Number(text)]));
}

// What is no setting and goes with a wish: the first picture, and a file that can be written there.
export function wish() {
  if (!facts) return {};
  const begins = first ? { input_reference: { image_url: first } } : {};
  return { output_format: facts.format, ...begins };
}

export async function beginWith(file) {
  show(await pictureAsUrl(file));
}

function show(found) {
  first = found;
  at("first-picture").hidden = at("first-drop").hidden = !found;
  if (found) at("first-picture").src = found;
}

at("first-open").addEventListener("click", () => at("first-file").click());
at("first-drop").addEventListener("click", () => show(null));
