"use strict";
// Filters by instrument, score and name. The page can be read without.
const form = document.querySelector("#filter");
const parts = [...document.querySelectorAll("[data-s]")];
const files = [...document.querySelectorAll("section.file")];
const shown = document.querySelector("#shown");

function filter() {
  const hidden = new Set();
  for (const box of form.querySelectorAll("[data-l]")) {
    if (!box.checked) hidden.add(box.dataset.l);
  }
  const least = Number(form.least.value);
  const words = form.words?.value.trim().toLowerCase() ?? "";
  form.querySelector("output").value = (least / 100).toFixed(2);
  const isFiltered = hidden.size > 0 || least > 0;
  for (const part of parts) {
    const isOut = Number(part.dataset.s) < least || hidden.has(part.classList.item(1));
    part.classList.toggle("out", isOut);
  }
  let n = 0;
  for (const file of files) {
    const isNamed = file.dataset.name.includes(words);
    const isLeft = !isFiltered || file.querySelector("[data-s]:not(.out)") !== null;
    file.classList.toggle("out", !(isNamed && isLeft));
    n += isNamed && isLeft;
  }
  shown.textContent = n === files.length ? "" : `${n} of ${files.length} shown`;
}

if (form) {
  form.hidden = false;
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  filter();
}
addEventListener("beforeprint", () => {
  for (const list of document.querySelectorAll("details")) list.open = true;
});
