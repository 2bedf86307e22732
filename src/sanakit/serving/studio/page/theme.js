// Light, dark, or as the system has it.

import { at } from "./dom.js";

const root = document.documentElement;
const dark = matchMedia("(prefers-color-scheme: dark)");

function apply(theme) {
  if (theme) root.dataset.theme = theme;
  else delete root.dataset.theme;
}

apply(localStorage.getItem("theme"));
at("theme").addEventListener("click", () => {
  const isDark = root.dataset.theme ? root.dataset.theme === "dark" : dark.matches;
  const theme = isDark ? "light" : "dark";
  localStorage.setItem("theme", theme);
  apply(theme);
});
