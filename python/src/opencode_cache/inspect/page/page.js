"use strict";
// Without this the table is simply whole.
const box = document.getElementById("filter");
const rows = [...document.querySelectorAll("#packages tbody tr")];
const texts = rows.map((row) => row.textContent.toLowerCase());
const shown = document.getElementById("shown");

box.addEventListener("input", () => {
  const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  rows.forEach((row, number) => {
    row.hidden = !words.every((word) => texts[number].includes(word));
    count += row.hidden ? 0 : 1;
  });
  shown.textContent = words.length ? `${count} of ${rows.length}` : "";
});
document.getElementById("filtering").hidden = false;

// Paper unfolds nothing; browsers whose style sheets cannot either are helped here.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  folded.forEach((part) => { part.open = true; });
});
addEventListener("afterprint", () => folded.forEach((part) => { part.open = false; }));
