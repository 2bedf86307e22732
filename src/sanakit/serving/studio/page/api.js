// What the page asks of the server, with the key if there is one, and its errors as sentences.

const keyhole = document.getElementById("keyhole");
let key = sessionStorage.getItem("key") ?? "";
let unlocking = null;

export class Refused extends Error {
  constructor(message, status, param) {
    super(message);
    this.status = status;
    this.param = param;
  }
}

function unlocked() {
  unlocking ??= new Promise((resolve) => {
    keyhole.addEventListener("close", () => {
      key = document.getElementById("key").value.trim();
      sessionStorage.setItem("key", key);
      unlocking = null;
      resolve();
    }, { once: true });
    keyhole.showModal();
  });
  return unlocking;
}

export async function send(path, { method = "GET", body, signal } = {}) {
  const headers = key ? { authorization: `Bearer ${key}` } : {};
  const plain = body !== undefined && !(body instanceof Blob) && !(body instanceof FormData);
  if (plain) headers["content-type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { method, headers, signal, body: plain ? JSON.stringify(body) : body });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The server does not answer; it may have been stopped.", 0);
  }
  if (answer.status === 401) {
    await unlocked();
    return send(path, { method, body, signal });
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  throw new Refused(told.error?.message ?? `The server answered ${answer.status}.`, answer.status, told.error?.param);
}

export const ask = async (path, options) => (await send(path, options)).json();

// Server-sent events, one object each; fetch instead of EventSource, which cannot bring a key.
export async function* events(path, options) {
  const reader = (await send(path, options)).body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      text += value;
      const parts = text.split("\n\n");
      text = parts.pop();
      for (const part of parts) {
        const line = part.split("\n").find((each) => each.startsWith("data: "));
        if (!line) continue;
        const told = JSON.parse(line.slice(6));
        if (told.error && told.type === "error") throw new Refused(told.error.message, 500, told.error.param);
        yield told;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

// A picture of the server in an <img>, which brings no key of its own.
export async function showPicture(image, path) {
  if (!key) {
    image.src = path;
    return;
  }
  const blob = await (await send(path)).blob();
  image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
  image.src = URL.createObjectURL(blob);
}

export const pictureBlob = async (path) => (await send(path)).blob();
