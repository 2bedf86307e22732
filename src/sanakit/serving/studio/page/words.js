// Words that the model knows, offered while one is typed.

import { at, make } from "./dom.js";

const MOST = 8;
let words = [];

export function prepare(known) {
  words = known;
  at("prompt").addEventListener("input", suggest);
  at("prompt").addEventListener("click", suggest);
  at("prompt").addEventListener("keydown", (event) => {
    const first = at("suggestions").firstElementChild;
    if (event.key === "ArrowDown" && first && at("prompt").selectionStart === at("prompt").value.length) {
      event.preventDefault();
      first.focus();
    }
  });
  at("suggestions").addEventListener("keydown", move);
  suggest();
}

function begun() {
  const { value, selectionStart } = at("prompt");
  return /[\p{L}'-]*$/u.exec(value.slice(0, selectionStart))[0];
}

function suggest() {
  if (!words.length) return;
  const start = begun().toLowerCase();
  const found = start ? words.filter((word) => word.startsWith(start) && word !== start) : sample();
  at("suggestions-told").textContent = start && !found.length && !words.includes(start) ? "" : `It knows ${words.length} words${start ? "" : ", such as"}`;
  at("suggestions").replaceChildren(...found.slice(0, MOST).map((word) => {
    const chip = make("button", { type: "button", textContent: word });
    chip.addEventListener("click", () => insert(word));
    return chip;
  }));
}

let shown = [];
function sample() {
  if (!shown.length) {
    const step = Math.max(1, Math.floor(words.length / MOST));
    const start = Math.floor(Math.random() * step);
    shown = words.filter((_, index) => index % step === start);
  }
  return shown;
}

function insert(word) {
  const field = at("prompt");
  const end = field.selectionStart;
  const start = end - begun().length;
  const gap = start > 0 && !/\s/.test(field.value[start - 1]) ? " " : "";
  field.setRangeText(`${gap}${word} `, start, end, "end");
  field.focus();
  field.dispatchEvent(new Event("input", { bubbles: true }));
}

function move(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (event.key === "ArrowUp" || event.key === "Escape") at("prompt").focus();
  if (!step) return;
  event.preventDefault();
  const chips = [...at("suggestions").children];
  chips[(chips.indexOf(document.activeElement) + step + chips.length) % chips.length]?.focus();
}
