// The pictures that are being made: previews, progress, cancel.

import { ask, events, showPicture } from "./api.js";
import { at, make, tell, telling } from "./dom.js";
import * as player from "./player.js";

let following = null; // the job on the stage
let stop = new AbortController();

export const followed = () => following;

export function present(number, size) {
  const [width, height] = (size ?? "1x1").split("x").map(Number);
  at("empty").hidden = true;
  at("shown").classList.toggle("many", number > 1);
  at("shown").replaceChildren(...Array.from({ length: number }, (_, index) => {
    const image = make("img", { alt: "", width, height, className: "coming" });
    image.src = blank(width, height);
    return make("button", { type: "button", disabled: true, ariaLabel: `Picture ${index + 1}, not finished` }, image);
  }));
}

// A still place of a picture's shape, so that nothing jumps when it comes.
function blank(width, height) {
  const canvas = make("canvas", { width: 16, height: Math.max(1, Math.round((16 * height) / width)) });
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#8882";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  return canvas.toDataURL();
}

export function preview(place, b64, kind = "png") {
  const image = at("shown").children[place]?.querySelector("img");
  if (image) image.src = `data:image/${kind};base64,${b64}`;
}

export function finished(place, path, label, open, film = false) {
  const button = at("shown").children[place];
  const image = button?.querySelector("img");
  if (!image) return; // nor where its film plays already
  image.classList.remove("coming");
  if (film) player.onStage(path).then((moving) => image.replaceWith(moving), (error) => tell(error.message));
  else showPicture(image, path);
  button.disabled = !open;
  button.ariaLabel = label;
  image.alt = label;
  if (open) button.onclick = open;
}

function progress(percent, text) {
  at("progress-field").hidden = percent === null;
  at("progress").value = percent ?? 0;
  at("progress-told").textContent = text ?? "";
}

// Shows a job until it ends; gives it as it is then, or nothing where the stage was wanted for another.
export async function follow(job, opened) {
  stop.abort();
  stop = new AbortController();
  const { signal } = stop;
  following = job.id;
  const { n = 1, size, prompt } = job.request;
  present(Number(n), size);
  progress(job.progress, job.status === "queued" ? "waits" : "");
  const film = job.kind === "video" && ["mp4", "webm"].includes(job.request.output_format ?? "mp4");
  const show = (data) => data.forEach((picture, place) => {
    const number = Number(picture.url.split("/").pop());
    finished(number, picture.url.slice(1), `${prompt || "no prompt"}, seed ${picture.seed}`, () => opened(picture.sha256, data[place]), film);
  });
  show(job.data);
  let ended = null;
  try {
    for await (const news of events(`v1/jobs/${job.id}/events`, { signal })) {
      if (news.job) ended = news.job;
      if (news.b64_json) preview(news.picture, news.b64_json, job.kind === "video" ? "webp" : "png");
      if (news.status === "queued") progress(news.progress ?? 0, "waits");
      else if (news.progress !== undefined) progress(news.progress, news.step ? `step ${news.step} of ${news.steps}` : "");
    }
    ended ??= await ask(`v1/jobs/${job.id}`, { signal });
  } catch (error) {
    if (error.name === "AbortError") return null;
    tell(error.message);
  }
  following = null;
  progress(null);
  if (ended) show(ended.data);
  if (ended?.status === "failed") tell(ended.error?.message ?? "The picture could not be made.");
  if (ended?.status !== "completed") dropUnfinished();
  return ended;
}

function dropUnfinished() {
  for (const image of at("shown").querySelectorAll("img.coming")) image.closest("button").remove();
  at("empty").hidden = at("shown").childElementCount > 0;
}

at("cancel").addEventListener("click", telling(async () => {
  if (following) await ask(`v1/jobs/${following}/cancel`, { method: "POST" });
}));
