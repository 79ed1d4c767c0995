"use strict";
const table = document.getElementById("scans");
if (table) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  const words = document.getElementById("words");
  const only = document.getElementById("outliers");
  const dots = new Map(rows.map((row) => [row.id, []]));
  for (const dot of document.querySelectorAll("[data-scan]")) {
    dots.get(`scan-${dot.dataset.scan}`).push(dot);
  }
  const inOrder = new Intl.Collator("en", { numeric: true }).compare;

  const sortBy = (head) => {
    const column = heads.indexOf(head);
    const down = head.getAttribute("aria-sort") === "ascending";
    const sign = down ? -1 : 1;
    const isNumber = head.dataset.kind === "number";
    const keys = new Map(rows.map((row) => [row, row.cells[column].dataset.value]));
    rows.sort((one, other) => {
      const [a, b] = [keys.get(one), keys.get(other)];
      if (a === "" || b === "") return (a === "") - (b === "");  // unknown values always come last
      return sign * (isNumber ? a - b : inOrder(a, b));
    });
    for (const each of heads) each.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...rows);
  };

  const filter = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const fits = wanted.every((word) => row.dataset.words.includes(word));
      row.hidden = !fits || (only.checked && !row.classList.contains("outlier"));
      count += !row.hidden;
      for (const dot of dots.get(row.id)) dot.classList.toggle("away", row.hidden);
    }
    document.getElementById("count").textContent = `${count} of ${rows.length}`;
  };

  for (const head of heads) {
    head.querySelector("button")?.addEventListener("click", () => sortBy(head));
  }
  words.addEventListener("input", filter);
  only.addEventListener("change", filter);
  for (const row of rows) {
    for (const dot of dots.get(row.id)) {
      dot.addEventListener("click", () => {
        table.querySelector(".shown")?.classList.remove("shown");
        row.classList.add("shown");
        row.hidden = false;
        row.scrollIntoView({ block: "center" });
      });
    }
  }
}
