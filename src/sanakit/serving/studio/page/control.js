// A picture that controls what is drawn: what of it, through which network, and how much it counts.

import { at, make, telling } from "./dom.js";
import { pictureAsUrl } from "./reading.js";

let image = null; // as a data URL

export function prepare(facts) {
  at("control-field").hidden = !facts.controls.length && !facts.own_control;
  if (facts.own_control) at("control-name").append(make("option", { value: "", textContent: "the model's own" }));
  for (const name of facts.controls) at("control-name").append(make("option", { value: name, textContent: name }));
  at("control-type").append(make("option", { value: "", textContent: "what it was trained on" }));
  for (const name of facts.annotators) at("control-type").append(make("option", { value: name, textContent: name === "given" ? "as it is" : name }));
  at("control-type").value = "";
}

// For the body of a request: nothing, or one that controls.
export function wish() {
  if (!image) return {};
  const told = { name: at("control-name").value, type: at("control-type").value };
  const chosen = Object.fromEntries(Object.entries(told).filter(([, value]) => value));
  return { controls: [{ ...chosen, scale: Number(at("control-scale").value), image }] };
}

function show(found) {
  image = found;
  at("control-picture").hidden = at("control-drop").hidden = !found;
  if (found) at("control-picture").src = found;
}

const take = telling(async (file) => show(await pictureAsUrl(file)));

at("control-open").addEventListener("click", () => at("control-file").click());
at("control-file").addEventListener("change", () => {
  if (at("control-file").files[0]) take(at("control-file").files[0]);
  at("control-file").value = "";
});
at("control-drop").addEventListener("click", () => show(null));
at("control-scale").addEventListener("input", () => { at("control-scale-told").value = Number(at("control-scale").value).toFixed(2); });
