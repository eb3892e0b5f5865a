"use strict";
// a folded part opens for a link into it, and all of them for printing; without scripts a click opens each
const parts = [...document.querySelectorAll("details.part")];
const reveal = () => {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const part = target && target.closest("details.part");
  if (part && !part.open) {
    part.open = true;
    target.scrollIntoView();
  }
};
addEventListener("hashchange", reveal);
reveal();
// the same link again changes no hash
document.querySelector("nav ul").addEventListener("click", () => setTimeout(reveal));
const openAll = document.getElementById("open-all");
openAll.hidden = false;
openAll.addEventListener("click", () => {
  const open = parts.some(part => !part.open);
  for (const part of parts) part.open = open;
  openAll.textContent = open ? "Fold all" : "Open all";
});
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  for (const one of folded) one.open = true;
});
addEventListener("afterprint", () => { for (const one of folded) one.open = false; });
// sorting: a click on a heading sorts by the full figures, a second one turns the order round
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  table.tHead.querySelectorAll("th").forEach((th, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = th.textContent;
    th.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = th.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.querySelectorAll("th")) other.removeAttribute("aria-sort");
      th.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = row => {
        const cell = row.cells[column];
        return cell.dataset.n === undefined ? cell.textContent : Number(cell.dataset.n);
      };
      const order = (a, b) => {
        const [x, y] = [key(a), key(b)];
        // words (a dash for what is missing) go last, whichever way figures are sorted
        if (typeof x !== typeof y) return typeof x === "number" ? -1 : 1;
        const sign = typeof x === "number" ? x - y : x.localeCompare(y);
        return down ? -sign : sign;
      };
      body.append(...[...body.rows].sort(order));
    });
  });
}
// filtering: every word must occur in the row
for (const label of document.querySelectorAll(".filter")) {
  label.hidden = false;
  const rows = label.parentElement.querySelectorAll("tbody tr");
  label.querySelector("input").addEventListener("input", event => {
    const words = event.target.value.toLowerCase().split(/\s+/);
    for (const row of rows) {
      const text = [...row.cells].map(cell => cell.textContent).join(" ").toLowerCase();
      row.hidden = !words.every(word => text.includes(word));
    }
  });
}
const theme = document.getElementById("theme");
theme.hidden = false;
theme.addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});
