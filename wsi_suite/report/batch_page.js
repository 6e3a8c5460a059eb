"use strict";

const body = document.querySelector(".slides tbody");
const rows = [...body.rows];
const filter = document.querySelector("[data-filter]");
const state = document.querySelector("select[data-state]");
const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));

// A missing value stands last in either order.
function valueOf(row, column, kind) {
  const cell = row.cells[column];
  if (kind === "text") return cell ? cell.textContent.trim() : null;
  return cell && cell.dataset.value ? Number(cell.dataset.value) : null;
}

function compare(first, second) {
  return typeof first === "number" ? first - second :
    first.localeCompare(second, "en", { numeric: true });
}

function sortBy(button) {
  const header = button.closest("th");
  const descending = header.getAttribute("aria-sort") === "ascending";
  for (const other of document.querySelectorAll("th[aria-sort]")) {
    other.setAttribute("aria-sort", "none");
  }
  header.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const { sort, kind } = button.dataset;
  const values = new Map(rows.map((row) => [row, valueOf(row, Number(sort), kind)]));
  const sorted = [...rows].sort((a, b) => {
    const [first, second] = [values.get(a), values.get(b)];
    if (first === null || second === null) return (first === null) - (second === null);
    return descending ? compare(second, first) : compare(first, second);
  });
  body.append(...sorted);
}

function show() {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of rows) {
    const fits = words.every((word) => texts.get(row).includes(word)) &&
      (state.value === "" || row.dataset.state === state.value);
    row.hidden = !fits;
    shown += fits;
  }
  document.querySelector("[data-count]").textContent =
    shown === rows.length ? "" : `${shown} of ${rows.length} slides`;
}

for (const button of document.querySelectorAll("[data-sort]")) {
  button.addEventListener("click", () => sortBy(button));
}
filter.addEventListener("input", show);
state.addEventListener("change", show);
