// The gallery: what was made, searched, opened and deleted.

import { ask, showPicture } from "./api.js";
import * as clip from "./clip.js";
import { at, later, make, telling } from "./dom.js";

let pictures = [];
let total = 0;
let open = () => {};

export const onOpen = (listener) => { open = listener; };
export const all = () => pictures;
export const byHash = (sha256) => pictures.find((each) => sha256.startsWith(each.sha256));
export const path = (name) => `studio/pictures/${encodeURIComponent(name)}`;

const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    seen.unobserve(target);
    showPicture(target, target.dataset.path).catch(() => {});
  }
}, { rootMargin: "300px" });

async function load(after = "") {
  const words = encodeURIComponent(at("search").value.trim());
  const found = await ask(`studio/pictures?words=${words}&after=${encodeURIComponent(after)}`);
  pictures = after ? [...pictures, ...found.data] : found.data;
  total = found.total;
}

export const refresh = telling(async () => {
  await load();
  show();
});

function show() {
  const known = new Map([...at("gallery").children].map((item) => [item.dataset.name, item]));
  at("gallery").replaceChildren(...pictures.map((picture) => known.get(picture.name) ?? tile(picture)));
  at("more").hidden = pictures.length >= total;
  const wanted = at("search").value.trim();
  at("gallery-told").textContent = total ? `${total} ${clip.here() ? "clip" : "picture"}${total === 1 ? "" : "s"}` : wanted ? "nothing found" : "nothing yet";
}

function tile(picture) {
  const image = make("img", { alt: "" });
  image.dataset.path = `${path(picture.name)}/thumbnail`;
  seen.observe(image);
  const label = `${picture.prompt || "no prompt"}, ${picture.size}, seed ${picture.seed ?? "not known"}`;
  const button = make("button", { type: "button", ariaLabel: label, title: picture.prompt }, image);
  button.addEventListener("click", () => open(picture));
  if (picture.clip) button.append(make("span", { className: "moves", ariaHidden: "true" }, "▶"));
  const item = make("li", {}, button);
  item.dataset.name = picture.name;
  return item;
}

export function mark(picture) {
  for (const item of at("gallery").children) item.firstChild.classList.toggle("chosen", item.dataset.name === picture?.name);
}

export async function remove(picture) {
  await ask(path(picture.name), { method: "DELETE" });
  pictures = pictures.filter((each) => each !== picture);
  total -= 1;
  show();
}

at("search").addEventListener("input", later(refresh, 200));
at("more").addEventListener("click", telling(async () => {
  await load(pictures.at(-1)?.name);
  show();
}));
