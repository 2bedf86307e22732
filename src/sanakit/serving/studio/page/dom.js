// Elements by id, elements made, and sentences shown.

export function at(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

export function make(kind, attributes = {}, ...children) {
  const element = document.createElement(kind);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

export function tell(text) {
  at("message-text").textContent = text;
  at("message").hidden = false;
}

export function hush() {
  at("message").hidden = true;
}

// Runs what may fail, and tells in the page why it did.
export function telling(work) {
  return async (...given) => {
    try {
      return await work(...given);
    } catch (error) {
      if (error.name === "AbortError") return undefined;
      if (!error.status && error.name !== "Error") console.error(error);
      tell(error.message);
      return undefined;
    }
  };
}

export function later(work, milliseconds) {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...given), milliseconds);
  };
}

at("message-close").addEventListener("click", hush);
