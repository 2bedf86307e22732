// Editing: a mask is painted, sides are pulled out, and the rest is the form's.

import { at, make } from "./dom.js";
import * as form from "./form.js";

const SIDES = ["left", "top", "right", "bottom"];
const canvas = at("canvas");
const pen = canvas.getContext("2d");
const mask = make("canvas");
const brush = mask.getContext("2d", { willReadFrequently: true });
let picture = null;
let file = null;
let fileName = "picture.png";
let undone = [];
let painted = false;
let submit = () => {};

export const onDraw = (listener) => { submit = listener; };

export async function open(blob, prompt, name) {
  picture = await createImageBitmap(blob);
  file = blob;
  fileName = name || "picture.png";
  [mask.width, mask.height] = [picture.width, picture.height];
  for (const side of SIDES) at(`add-${side}`).value = 0;
  at("edit-prompt").value = prompt ?? at("prompt").value;
  at("editor-told").textContent = "";
  undone = [];
  painted = false;
  draw();
  tellValues();
  if (!at("editor").open) at("editor").showModal();
}

const added = () => Object.fromEntries(SIDES.map((side) => [side, Math.min(2048, Math.max(0, Math.round(Number(at(`add-${side}`).value) || 0)))]));

function draw() {
  const { left, top, right, bottom } = added();
  canvas.width = picture.width + left + right;
  canvas.height = picture.height + top + bottom;
  const shown = Math.max(1, Math.min(640 / canvas.width, 520 / canvas.height)); // small pictures are shown larger
  canvas.style.width = `${Math.round(canvas.width * shown)}px`;
  pen.fillStyle = "#23665f66";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.clearRect(left, top, picture.width, picture.height);
  pen.drawImage(picture, left, top);
  pen.globalAlpha = 0.55;
  pen.drawImage(mask, left, top);
  pen.globalAlpha = 1;
}

function tellValues() {
  at("brush-told").value = `${at("brush").value} %`;
  at("strength-told").value = Number(at("strength").value).toFixed(2);
}

function remember() {
  undone = [...undone.slice(-19), [brush.getImageData(0, 0, mask.width, mask.height), painted]];
}

function stroke(from, to) {
  const width = (Number(at("brush").value) / 100) * Math.max(mask.width, mask.height);
  brush.globalCompositeOperation = at("erase").ariaPressed === "true" ? "destination-out" : "source-over";
  brush.strokeStyle = "#f4a020";
  brush.lineWidth = width;
  brush.lineCap = "round";
  brush.beginPath();
  brush.moveTo(...from);
  brush.lineTo(to[0] + 0.01, to[1]);
  brush.stroke();
  painted = true;
  draw();
}

function place(event) {
  const { left, top } = added();
  const scale = canvas.width / canvas.clientWidth;
  return [event.offsetX * scale - left, event.offsetY * scale - top];
}

let last = null;
canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  remember();
  last = place(event);
  stroke(last, last);
});
canvas.addEventListener("pointermove", (event) => {
  if (!last) return;
  const next = place(event);
  stroke(last, next);
  last = next;
});
for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { last = null; });

for (const handle of document.querySelectorAll(".handle")) {
  const { side } = handle.dataset;
  const field = at(`add-${side}`);
  const sideways = side === "left" || side === "right";
  const sign = side === "left" || side === "top" ? -1 : 1;
  const set = (value) => { field.value = Math.min(2048, Math.max(0, Math.round(value / 8) * 8)); draw(); };
  let start = null;
  handle.addEventListener("pointerdown", (event) => {
    handle.setPointerCapture(event.pointerId);
    start = { at: sideways ? event.clientX : event.clientY, value: Number(field.value), scale: canvas.width / canvas.clientWidth };
  });
  handle.addEventListener("pointermove", (event) => {
    if (start) set(start.value + sign * ((sideways ? event.clientX : event.clientY) - start.at) * start.scale);
  });
  for (const end of ["pointerup", "pointercancel"]) handle.addEventListener(end, () => { start = null; });
  handle.addEventListener("keydown", (event) => {
    const grows = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
    if (!grows) return;
    event.preventDefault();
    set(Number(field.value) + sign * grows * 8);
  });
  field.addEventListener("input", draw);
}

at("erase").addEventListener("click", () => { at("erase").ariaPressed = String(at("erase").ariaPressed !== "true"); });
at("undo").addEventListener("click", () => {
  const before = undone.pop();
  if (!before) return;
  brush.putImageData(before[0], 0, 0);
  painted = before[1];
  draw();
});
at("clear").addEventListener("click", () => {
  remember();
  brush.clearRect(0, 0, mask.width, mask.height);
  painted = false;
  draw();
});
at("invert").addEventListener("click", () => {
  remember();
  brush.globalCompositeOperation = "source-out";
  brush.fillStyle = "#f4a020";
  brush.fillRect(0, 0, mask.width, mask.height);
  painted = true;
  draw();
});
for (const id of ["brush", "strength"]) at(id).addEventListener("input", tellValues);
at("editor-close").addEventListener("click", () => at("editor").close());

// White where something was painted, as the server reads a mask.
function maskFile() {
  const out = make("canvas", { width: mask.width, height: mask.height });
  const ink = out.getContext("2d");
  ink.drawImage(mask, 0, 0);
  ink.globalCompositeOperation = "source-in";
  ink.fillStyle = "#fff";
  ink.fillRect(0, 0, out.width, out.height);
  ink.globalCompositeOperation = "destination-over";
  ink.fillStyle = "#000";
  ink.fillRect(0, 0, out.width, out.height);
  return new Promise((resolve) => { out.toBlob(resolve, "image/png"); });
}

at("edit-draw").addEventListener("click", async () => {
  const { size: _size, ...wish } = form.settings();
  const sides = Object.entries(added()).filter(([, pixels]) => pixels > 0);
  wish.prompt = at("edit-prompt").value;
  if (Number(at("strength").value) < 1 || !(painted || sides.length)) wish.strength = Number(at("strength").value);
  if (sides.length) wish.expand = sides.map((pair) => pair.join("=")).join(",");
  const body = new FormData();
  if (painted) {
    wish.mask_means = "white";
    body.append("mask", await maskFile(), "mask.png");
  }
  for (const [name, value] of Object.entries(wish)) body.append(name, typeof value === "object" ? JSON.stringify(value) : String(value));
  body.append("image", file, fileName);
  try {
    await submit(body);
    at("editor").close();
  } catch (error) {
    at("editor-told").textContent = error.message;
  }
});
