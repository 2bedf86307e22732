// Pictures from outside: dropped, pasted or opened. Their settings come back; those without are edited.

import { Refused, ask } from "./api.js";
import * as clip from "./clip.js";
import { at, hush, tell, telling } from "./dom.js";
import * as editor from "./editor.js";
import * as form from "./form.js";

const take = telling(async (file) => {
  if (!/^(image|video)[/]/.test(file.type)) throw new Refused(`${file.name} is no picture and no clip; drop a PNG, JPEG, WebP or MP4 file.`, 400);
  const told = await ask("studio/recall", { method: "POST", body: file });
  if (clip.here() && told.of !== "clip" && file.type.startsWith("image/")) return begin(file);
  if (!told.settings && (told.of === "clip" || file.type.startsWith("video/"))) throw new Refused(`${file.name}: ${told.lacks.join(", ")}.`, 400);
  if (!told.settings) {
    await editor.open(file, at("prompt").value, file.name);
    at("editor-told").textContent = "It holds no settings, so it can be edited here.";
    return;
  }
  hush();
  form.recall(told.settings);
  tell([`The settings of ${file.name} are in the form.`, ...told.lacks.map((each) => `Note: ${each}.`)].join(" "));
  at("prompt").focus();
});

const begin = telling(async (file) => {
  await clip.beginWith(file);
  hush();
  tell(`The clip will begin with ${file.name}.`);
});

const carries = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
addEventListener("dragover", (event) => {
  if (!carries(event)) return;
  event.preventDefault();
  at("drop").hidden = false;
});
addEventListener("dragleave", (event) => { if (!event.relatedTarget) at("drop").hidden = true; });
addEventListener("drop", (event) => {
  at("drop").hidden = true;
  const file = event.dataTransfer?.files[0];
  if (!file) return;
  event.preventDefault();
  take(file);
});
addEventListener("paste", (event) => {
  const file = event.clipboardData?.files[0];
  if (file) take(file);
});
at("first-file").addEventListener("change", () => {
  if (at("first-file").files[0]) begin(at("first-file").files[0]);
  at("first-file").value = "";
});
at("open-file").addEventListener("click", () => at("file").click());
at("file").addEventListener("change", () => {
  if (at("file").files[0]) take(at("file").files[0]);
  at("file").value = "";
});
