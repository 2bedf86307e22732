// Two pictures over each other, with a line between them that moves, and the settings in which they differ.

import { ask, showPicture } from "./api.js";
import { at, make } from "./dom.js";
import * as gallery from "./gallery.js";

const told = (value) => value === undefined ? "–" : typeof value === "object" ? JSON.stringify(value) : String(value);

export async function open(left, right) {
  await Promise.all([[left, "left-picture"], [right, "right-picture"]].map(([picture, id]) => showPicture(at(id), gallery.path(picture.name))));
  divide();
  const found = await Promise.all([left, right].map((each) => ask(`${gallery.path(each.name)}/settings`).catch(() => ({ settings: {} }))));
  const [one, other] = found.map((each) => each.settings ?? {});
  const names = [...new Set([...Object.keys(one), ...Object.keys(other)])].filter((name) => told(one[name]) !== told(other[name]));
  const rows = names.map((name) => make("tr", {}, make("th", { scope: "row" }, name.replaceAll("_", " ")), make("td", {}, told(one[name])), make("td", {}, told(other[name]))));
  at("differences").replaceChildren(...(rows.length ? rows : [make("tr", {}, make("td", { colSpan: 3 }, "made with the same settings"))]));
  at("comparer").showModal();
}

function divide() {
  at("right-picture").style.clipPath = `inset(0 0 0 ${at("divide").value}%)`;
}

at("divide").addEventListener("input", divide);
at("comparer-close").addEventListener("click", () => at("comparer").close());
