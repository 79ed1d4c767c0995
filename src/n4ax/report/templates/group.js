(() => {
  const CHUNK = 200;  // so many scans are drawn at once, and more when the reader scrolls
  const get = (id) => document.getElementById(id);
  const data = JSON.parse(get("data").textContent);
  const rows = data.Rows.map((cells, index) => {
    const row = Object.fromEntries(data.Columns.map((name, at) => [name, cells[at]]));
    const name = row.bids_name.replaceAll("_", " ");
    const codes = row.verdict ? row.verdict.split(",") : [];
    const words = `${name} ${row.source} ${row.reason ?? ""} ${codes.join(" ")}`.toLowerCase();
    return { ...row, index, name, codes, words, corrected: row.stem !== null };
  });
  const bySource = new Map(rows.map((row) => [row.source, row]));
  let shown = rows;
  let ready = false;
  const ratings = startRating({
    results: new Map(rows.filter((row) => row.corrected).map((row) => [row.source, row.result ?? ""])),
    move: (step, key) => move(step, key),
    changed: () => { if (ready) countRatings(); },
  });
  let drawn = 0;
  let view = "table";
  let chosen = null;  // the scan that was chosen last, also while the filters hide it

  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const write = (value) => {
    if (value === null) return "–";
    const size = Math.abs(value);
    return value.toFixed(size < 10 ? 3 : size < 1000 ? 1 : 0).replace("-", "−");
  };
  const writeTime = (value) => (value === null ? "–" : `${value.toFixed(value < 100 ? 1 : 0)} s`);
  const divide = (high, low) => (low && high !== null ? high / low : null);
  const rate = (row) => (row.corrected ? ratings.current(row.source) : undefined);

  // What can be sorted and shown: a title, a key, and for the table what stands in the cell.
  const isOut = (row, ...names) => names.some((name) => name in row.unusual);
  const range = (row, low, high) => (row[high] === null ? "–" : `${write(row[low])} to ${write(row[high])}`);
  const number = (title, name) => ({
    title, key: (row) => row[name], cell: (row) => write(row[name]), out: (row) => isOut(row, name),
  });
  const text = (title, name) => ({ title, text: true, key: (row) => row[name] ?? "", cell: (row) => row[name] ?? "" });
  const settings = (row) => {
    const kind = row.exception ? "own" : row.earlier ? "earlier" : "";
    const hash = make("span", { className: "file", textContent: row.settings_hash ?? "" });
    return kind ? [hash, make("br"), make("span", { className: "worse small", textContent: kind })] : [hash];
  };
  const has = (name) => rows.some((row) => row[name] !== null && row[name] !== "");
  const order = (row) => WORDS.indexOf(rate(row)?.rating);
  const columns = [
    { title: "Participant", text: true, key: (row) => row.subject_id, cell: (row) => [makeLink(row, `sub-${row.subject_id}`)] },
    has("session_id") && text("Session", "session_id"),
    text("Suffix", "suffix"),
    has("further") && text("Run, other", "further"),
    {
      title: "Field",
      about: "Field, lowest to highest",
      key: (row) => divide(row.field_max, row.field_min),
      cell: (row) => range(row, "field_min", "field_max"),
      out: (row) => isOut(row, "field_min", "field_max"),
    },
    {
      title: "Field 5–95 %",
      key: (row) => divide(row.inu_p95, row.inu_p05),
      cell: (row) => range(row, "inu_p05", "inu_p95"),
      out: (row) => isOut(row, "inu_p05", "inu_p95"),
    },
    number("CJV before", "cjv_before"),
    number("CJV after", "cjv"),
    { title: "Iterations", key: (row) => row.iterations, cell: (row) => row.iterations ?? "–" },
    { title: "Time", key: (row) => row.seconds, cell: (row) => writeTime(row.seconds) },
    {
      title: "Verdict",
      text: true,
      key: (row) => (row.state === "failed" ? "0 failed" : row.serious.length ? `1 ${row.verdict}` : row.verdict ?? ""),
      cell: (row) => [
        ...(row.state === "failed" ? [make("span", { className: "code bad", textContent: "failed" })] : []),
        ...row.codes.map((code) => make("span", { className: row.serious.length ? "code bad" : "code", textContent: code })),
      ],
      className: "codes",
    },
    has("settings_hash") && { title: "Settings", text: true, key: (row) => row.settings_hash ?? "", cell: settings },
    { title: "Rating", text: true, key: (row) => (order(row) < 0 ? "" : String(order(row))), cell: (row) => makeButtons(row) },
  ].filter(Boolean);

  const makeLink = (row, label) => make("a", {
    href: `${encodeURIComponent(`sub-${row.subject_id}`)}.html${row.stem ? `#${encodeURIComponent(row.stem)}` : ""}`,
    textContent: label,
  });
  const makeButtons = (row) => {
    if (!row.corrected) return [];
    const buttons = get("rating-buttons").content.cloneNode(true);
    buttons.firstElementChild.setAttribute("aria-label", `Rating of ${row.name}`);
    return [buttons];
  };
  const makePicture = (row, lack) => (row.tile
    ? make("img", { className: "tile-picture", src: row.tile, alt: `${row.name}: after correction, and the field`, decoding: "async" })
    : make("span", { className: "none", textContent: lack }));
  // What is to be said in words: a failure, what is serious, and what is unusual.
  const explain = (row) => [
    ...(row.reason ? [{ bad: true, text: `Not corrected: ${row.reason}${row.corrected ? " (shown is an earlier result)" : ""}` }] : []),
    ...row.serious.map((said) => ({ bad: true, text: said })),
    ...Object.values(row.unusual).map(([, said]) => ({ bad: false, text: said })),
  ];
  const isBad = (row) => row.state === "failed" || row.serious.length > 0;
  const prepare = (element, row) => {
    element.id = `scan-${row.index}`;
    element.tabIndex = -1;
    Object.assign(element.dataset, { source: row.source, name: row.name });
    ratings.paint(element);
    return element;
  };

  const makeTableRow = (row) => {
    const line = make("tr", {}, ...data.Pictured ? [make("td", {}, makePicture(row, row.corrected ? "no picture" : "failed"))] : []);
    for (const column of columns) {
      const content = column.cell(row);
      const cell = make("td", {}, ...(Array.isArray(content) ? content : [content]));
      if (column.text) cell.className = `text ${column.className ?? ""}`;
      if (column.out?.(row)) cell.className = "out";
      line.append(cell);
    }
    const body = make("tbody", { className: isBad(row) ? "serious" : row.outlier ? "outlier" : "" }, line);
    const said = explain(row);
    if (said.length) {
      const items = said.map(({ bad, text: words }) => make("li", { className: bad ? "bad" : "", textContent: words }));
      const cell = make("td", { colSpan: line.cells.length }, make("ul", {}, ...items));
      body.append(make("tr", { className: "words" }, cell));
    }
    return prepare(body, row);
  };
  const makeTile = (row) => {
    const kind = isBad(row) ? "serious" : row.outlier || row.codes.length ? "unusual" : "";
    const tile = make("li", { className: `tile ${kind}` }, makePicture(row, row.corrected ? "no picture" : "failed"), makeLink(row, row.name));
    const reasons = [
      ...(row.reason ? [row.reason] : []), ...row.codes, ...(row.outlier ? [`outlier: ${Object.values(row.unusual).map(([short]) => short).join(", ")}`] : []),
    ];
    if (reasons.length) tile.append(make("div", { className: "why", textContent: reasons.join("; ") }));
    tile.append(...makeButtons(row));
    return prepare(tile, row);
  };

  // Draw the scans up to a number of them.
  const grow = (until) => {
    const end = Math.min(Math.ceil(until / CHUNK) * CHUNK, shown.length);
    const [place, draw] = view === "table" ? [get("scans"), makeTableRow] : [get("mosaic"), makeTile];
    if (end > drawn) place.append(...shown.slice(drawn, end).map(draw));
    drawn = Math.max(drawn, end);
  };
  const watcher = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting) || drawn >= shown.length) return;
    grow(drawn + 1);
    watcher.unobserve(get("more"));  // it is looked at anew, since it may still be in sight
    watcher.observe(get("more"));
  }, { rootMargin: "1000px" });
  const redraw = () => {
    chosen = ratings.findCurrent()?.dataset.source ?? chosen;
    for (const body of [...get("scans").tBodies]) body.remove();
    get("mosaic").replaceChildren();
    get("table-view").hidden = view !== "table";
    get("mosaic").hidden = view !== "mosaic";
    drawn = 0;
    grow(1);
    const again = chosen !== null && find(bySource.get(chosen));
    if (again) ratings.select(again);
    watcher.unobserve(get("more"));
    watcher.observe(get("more"));
  };
  const find = (row) => document.getElementById(`scan-${row.index}`);

  const inOrder = new Intl.Collator("en", { numeric: true }).compare;
  let sorted = { column: null, down: false };
  const sort = (list) => {
    const { column, down } = sorted;
    const sign = down ? -1 : 1;
    if (!column) return [...list].sort((one, other) => sign * (one.index - other.index));
    const keys = new Map(list.map((row) => [row, column.key(row)]));
    const unknown = (key) => key === "" || key === null;
    return [...list].sort((one, other) => {
      const [a, b] = [keys.get(one), keys.get(other)];
      if (unknown(a) || unknown(b)) return unknown(a) - unknown(b);  // these always come last
      return sign * (column.text ? inOrder(a, b) : a - b);
    });
  };

  // Filters: a title, and the kinds to which a scan belongs.
  const filters = [
    { title: "Suffix", of: (row) => [row.suffix] },
    { title: "Session", of: (row) => [row.session_id ?? "none"] },
    { title: "Run", of: (row) => [row.run ?? "none"] },
    { title: "Verdict", of: (row) => [...row.codes, ...(row.serious.length ? ["serious"] : []), ...(row.codes.length ? [] : ["none"])] },
    {
      title: "State",
      of: (row) => [row.state, ...(row.earlier ? ["earlier settings"] : []), ...(row.exception ? ["settings of its own"] : [])],
    },
    {
      title: "Rating",
      live: true,
      values: ["not rated", ...WORDS, "outdated"],
      of: (row) => {
        const given = rate(row);
        if (!given) return [row.corrected ? "not rated" : "failed"];
        return [given.rating, ...(ratings.isOld(given) ? ["outdated"] : [])];
      },
    },
  ];
  const filter = () => {
    const wanted = get("words").value.toLowerCase().split(/\s+/).filter(Boolean);
    const set = filters.filter(({ select }) => select?.value);
    const only = get("outliers").checked;
    shown = sort(rows.filter((row) => (!only || row.outlier)
      && wanted.every((word) => row.words.includes(word))
      && set.every(({ of, select }) => of(row).includes(select.value))));
    const present = new Set(shown.map((row) => row.index));
    for (const dot of document.querySelectorAll("[data-scan]")) {
      dot.classList.toggle("away", !present.has(Number(dot.dataset.scan)));
    }
    get("count").textContent = `${shown.length} of ${rows.length}`;
    redraw();
  };
  const reset = () => {
    for (const { select } of filters) if (select) select.value = "";
    get("words").value = "";
    get("outliers").checked = false;
    filter();
  };
  for (const each of filters) {
    const values = each.values ?? [...new Set(rows.flatMap(each.of))].sort(inOrder);
    if (values.length < 2) continue;
    each.select = make("select", { onchange: filter }, make("option", { value: "", textContent: "all" }),
      ...values.map((value) => make("option", { value, textContent: value })));
    get("filters").append(make("label", {}, `${each.title} `, each.select));
  }

  const sortBy = (column, down) => {
    sorted = { column, down };
    columns.forEach((each, at) => {
      const head = heads[at];
      if (each === column) head.setAttribute("aria-sort", down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    get("order").value = String(columns.indexOf(column));
    get("direction").textContent = down ? "↓" : "↑";
    get("direction").setAttribute("aria-pressed", down);
    shown = sort(shown);
    redraw();
  };
  const heads = columns.map((column) => {
    const button = make("button", { type: "button", textContent: column.title, title: column.about ?? "" });
    const head = make("th", { scope: "col", className: column.text ? "text" : "" }, button);
    button.addEventListener("click", () => sortBy(column, head.getAttribute("aria-sort") === "ascending"));
    return head;
  });
  get("scans").tHead.rows[0].append(...data.Pictured ? [make("th", { scope: "col", textContent: "After, field" })] : [], ...heads);
  get("order").append(make("option", { value: "-1", textContent: "Path" }),
    ...columns.map((column, at) => make("option", { value: at, textContent: column.about ?? column.title })));

  const show = (name) => {
    view = name;
    for (const button of document.querySelectorAll("[data-view]")) {
      button.setAttribute("aria-pressed", button.dataset.view === view);
    }
    redraw();
  };
  const visit = (row) => {
    if (!shown.includes(row)) reset();
    grow(shown.indexOf(row) + 1);
    ratings.go(find(row));
  };
  const move = (step, key) => {
    if (!shown.length) return;
    const at = shown.indexOf(bySource.get(ratings.findCurrent()?.dataset.source));
    const across = view === "mosaic" && (key === "ArrowDown" || key === "ArrowUp")
      ? getComputedStyle(get("mosaic")).gridTemplateColumns.split(" ").length : 1;
    visit(shown[Math.min(Math.max(at + step * across, 0), shown.length - 1)]);
  };
  const countRatings = () => {
    const counts = new Map(WORDS.map((word) => [word, 0]));
    for (const source of ratings.sources()) {
      const given = bySource.has(source) && rate(bySource.get(source));
      if (given) counts.set(given.rating, counts.get(given.rating) + 1);
    }
    const total = [...counts.values()].reduce((one, other) => one + other, 0);
    const parts = [...counts].filter(([, count]) => count).map(([word, count]) => `${count} ${word}`);
    get("ratings-count").replaceChildren(make("b", { textContent: total }), ` rated${parts.length ? `: ${parts.join(", ")}` : ""}`);
  };

  get("words").addEventListener("input", filter);
  get("outliers").addEventListener("change", filter);
  get("reset").addEventListener("click", reset);
  get("order").addEventListener("change", () => sortBy(columns[Number(get("order").value)] ?? null, sorted.down));
  get("direction").addEventListener("click", () => sortBy(sorted.column, !sorted.down));
  for (const button of document.querySelectorAll("[data-view]")) {
    button.addEventListener("click", () => show(button.dataset.view));
  }
  for (const dot of document.querySelectorAll("[data-scan]")) {
    dot.addEventListener("click", () => visit(rows[Number(dot.dataset.scan)]));
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "v" && !event.target.closest("input, textarea, select, dialog")) show(view === "table" ? "mosaic" : "table");
    if (event.key === "Enter" && event.target.matches("[data-source]")) event.target.querySelector("a").click();
  });
  ready = true;
  countRatings();
  filter();
})();
