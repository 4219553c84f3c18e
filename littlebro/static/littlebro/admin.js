/* Comfort alone: without it every page of littlebro's in the admin works just the same. */
"use strict";

function button(text, action) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "lb-small";
  made.textContent = text;
  made.addEventListener("click", () => action(made));
  return made;
}

function select(element) {
  const range = document.createRange();
  range.selectNodeContents(element);
  const selection = window.getSelection();
  selection.removeAllRanges();
  selection.addRange(range);
}

for (const raw of document.querySelectorAll("[data-copy]")) {
  const copy = button("Copy", async (pressed) => {
    try {
      await navigator.clipboard.writeText(raw.textContent);
      pressed.textContent = "Copied";
    } catch { // no secure context, or not allowed: select it, and leave the rest to the keyboard
      select(raw);
      pressed.textContent = "Selected";
    }
    setTimeout(() => { pressed.textContent = "Copy"; }, 2000);
  });
  raw.before(copy);
}

for (const head of document.querySelectorAll("[data-tick-all]")) {
  const all = document.createElement("input");
  all.type = "checkbox";
  const label = document.createElement("label");
  const text = document.createElement("span");
  text.className = "lb-label";
  text.textContent = "Tick all on this page";
  label.append(all, text);
  all.setAttribute("aria-label", text.textContent);
  const ticks = head.closest("table").querySelectorAll("input[name=letter]");
  all.addEventListener("change", () => {
    for (const tick of ticks) tick.checked = all.checked;
  });
  head.replaceChildren(label);
}
