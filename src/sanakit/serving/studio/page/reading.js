// Files of pictures as data URLs.

import { Refused } from "./api.js";

export async function pictureAsUrl(file) {
  if (!file.type.startsWith("image/")) throw new Refused(`${file.name} is no picture; choose a PNG, JPEG or WebP file.`, 400);
  const reader = new FileReader();
  await new Promise((resolve, reject) => {
    reader.addEventListener("load", resolve);
    reader.addEventListener("error", () => reject(new Refused(`${file.name} cannot be read.`, 400)));
    reader.readAsDataURL(file);
  });
  return reader.result;
}
