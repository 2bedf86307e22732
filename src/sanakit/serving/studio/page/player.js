// A clip in the viewer: played, stepped frame by frame, and scrubbed along its film strip; and moving on the stage.

import { pictureBlob, showPicture } from "./api.js";
import { at, make } from "./dom.js";

const video = at("viewer-video");
let clip = null; // its frames, and frames a second

const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

async function bring(element, path, wanted = () => true) {
  const blob = await pictureBlob(path);
  if (!wanted()) return;
  URL.revokeObjectURL(element.src);
  element.src = URL.createObjectURL(blob);
}

// In place of an <img>; a small film that repeats itself, without a sound.
export async function onStage(path) {
  const film = make("video", { muted: true, loop: true, playsInline: true, autoplay: !still() });
  await bring(film, path);
  return film;
}

export async function open(found, path) {
  close();
  clip = found.clip;
  const wanted = () => clip === found.clip; // and no other was opened while this one came
  at("player").hidden = !clip?.video;
  video.hidden = !clip?.video;
  at("viewer-picture").hidden = Boolean(clip?.video);
  at("strip").hidden = !clip;
  for (const id of ["edit", "compare"]) at(id).hidden = Boolean(clip);
  if (!clip) return;
  await showPicture(at("strip-picture"), `${path}/strip`);
  if (!wanted() || !clip.video) return;
  at("scrub").max = clip.num_frames - 1;
  await bring(video, path, wanted);
  if (!wanted()) return;
  video.ariaLabel = found.prompt || "a clip without a prompt";
  if (!still()) await video.play().catch(() => {});
}

export function close() {
  video.pause();
  URL.revokeObjectURL(video.src);
  video.removeAttribute("src");
  video.load();
  clip = null;
}

function seek(frame) {
  video.pause();
  video.currentTime = (Math.min(Math.max(frame, 0), clip.num_frames - 1) + 0.5) / clip.fps;
}

const frame = () => Math.min(Math.floor(video.currentTime * clip.fps), clip.num_frames - 1);

function tellFrame() {
  if (!clip?.video) return;
  at("scrub").value = frame();
  at("frame-told").value = `${frame() + 1} / ${clip.num_frames}`;
  at("strip-mark").style.left = `${(100 * (frame() + 0.5)) / clip.num_frames}%`;
  if (!video.paused) requestAnimationFrame(tellFrame);
}

function tellPlaying() {
  at("play").textContent = video.paused ? "▶" : "❚❚";
  at("play").ariaLabel = video.paused ? "Play" : "Pause";
  tellFrame();
}

for (const name of ["play", "pause"]) video.addEventListener(name, tellPlaying);
for (const name of ["seeked", "loadeddata"]) video.addEventListener(name, tellFrame);
at("play").addEventListener("click", () => (video.paused ? video.play() : video.pause()));
at("scrub").addEventListener("input", () => seek(Number(at("scrub").value)));
at("back").addEventListener("click", () => seek(frame() - 1));
at("forth").addEventListener("click", () => seek(frame() + 1));
at("strip").addEventListener("click", (event) => {
  const { left, width } = at("strip").getBoundingClientRect();
  if (clip?.video) seek(Math.floor((clip.num_frames * (event.clientX - left)) / width));
});
at("viewer").addEventListener("close", close);
