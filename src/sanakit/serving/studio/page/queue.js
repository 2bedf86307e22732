// What waits and runs, in its order, which can be changed.

import { Refused, ask } from "./api.js";
import { at, make, telling } from "./dom.js";

const OFTEN = 1500; // milliseconds between two looks while there is work
const MOST = 100;
let queued = [];
let timer = 0;
let changed = () => {};

export const onChange = (listener) => { changed = listener; };

export async function refresh() {
  clearTimeout(timer);
  const [waiting, running] = await Promise.all(["queued", "running"].map((status) => ask(`v1/jobs?status=${status}&limit=${MOST}`)));
  queued = waiting.data.sort((one, other) => one.queue_position - other.queue_position);
  const begun = running.data.toReversed(); // oldest first, as it goes
  const all = [...begun, ...queued];
  show(all, waiting.has_more);
  if (all.length) timer = setTimeout(() => refresh().catch(() => { timer = setTimeout(telling(refresh), 4 * OFTEN); }), OFTEN);
  changed(begun);
  return all;
}

function show(jobs, more) {
  at("queue-field").hidden = jobs.length < 2;
  const focused = document.activeElement?.dataset?.act && [document.activeElement.closest("li").id, document.activeElement.dataset.act];
  at("queue").replaceChildren(...jobs.map((job, place) => row(job, place)));
  if (more) at("queue").append(make("li", { className: "quiet small" }, "and more that wait"));
  if (focused) document.getElementById(focused[0])?.querySelector(`[data-act="${focused[1]}"]`)?.focus();
}

function row(job) {
  const what = job.request.prompt || "no prompt";
  const place = queued.indexOf(job);
  const act = (name, label, text, work, disabled = false) => {
    const button = make("button", { type: "button", className: "plain", ariaLabel: `${label}: ${what}`, title: label, disabled }, text);
    button.dataset.act = name;
    button.addEventListener("click", telling(work));
    return button;
  };
  const buttons = make("span", { className: "buttons" });
  if (place >= 0) {
    buttons.append(act("up", "Sooner", "↑", () => raise(place), place === 0));
    buttons.append(act("down", "Later", "↓", () => raise(place + 1), place === queued.length - 1));
  }
  buttons.append(act("cancel", "Cancel", "✕", async () => {
    await ask(`v1/jobs/${job.id}/cancel`, { method: "POST" });
    await refresh();
  }));
  const number = Number(job.request.n ?? 1);
  const about = job.estimated_seconds ? `, about ${Math.max(1, Math.round(job.estimated_seconds))} s` : "";
  const told = place < 0 ? make("progress", { max: 100, value: job.progress, ariaLabel: `Progress: ${what}` })
    : make("span", { className: "quiet small" }, `waits${about}`);
  return make("li", { id: job.id }, make("span", { className: "what", title: what }, number > 1 ? `${number} × ${what}` : what), told, buttons);
}

// Puts a job before the one above it. The server's order is priority, then age: jobs of one priority keep theirs.
async function raise(place) {
  const before = queued.map((job) => job.priority);
  const above = queued[place - 1];
  const wanted = new Map([[queued[place], above.priority + 1]]);
  let least = above.priority + 2;
  for (let index = place - 2; index >= 0 && before[index] < least; index -= 1) {
    if (index < place - 2 && before[index] > before[index + 1]) least += 1;
    wanted.set(queued[index], least);
  }
  if (Math.max(...wanted.values()) > 100) throw new Refused("There are too many changes of order; let some pictures finish first.", 400);
  for (const [job, priority] of [...wanted].reverse()) await ask(`v1/jobs/${job.id}/priority/${priority}`, { method: "POST" });
  await refresh();
}
