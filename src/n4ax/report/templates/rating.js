"use strict";
// Rating of scans. See rating.html for how a page includes it.

const COLUMNS = ["source", "rating", "note", "rater", "date", "result"];
const WORDS = ["accept", "unsure", "reject"];

// Dates in one form, so that they can be compared as texts; without a zone they are UTC.
const readDate = (text) => {
  const zoned = /(Z|[+-]\d\d:?\d\d)$/.test(text) || !text.includes("T") ? text : `${text}Z`;
  const date = new Date(zoned);
  return Number.isNaN(date.getTime()) ? null : date.toISOString();
};

// A spreadsheet takes cells that begin so for formulas; an apostrophe in front keeps it from that.
const guard = (text) => (/^[=+\-@']/.test(text) ? `'${text}` : text);
const unguard = (text) => (/^'[=+\-@']/.test(text) ? text.slice(1) : text);
const makeOneLine = (text) => text.replace(/\s+/g, " ").trim();

const writeTable = (rows) => {
  const cell = (text) => {
    const guarded = guard(makeOneLine(text)) || "n/a";
    return guarded.includes('"') ? `"${guarded.replaceAll('"', '""')}"` : guarded;
  };
  const lines = rows.map((row) => COLUMNS.map((name) => cell(row[name])).join("\t"));
  return `${[COLUMNS.join("\t"), ...lines].join("\n")}\n`;
};

// The cells of a table, line by line; a cell in quotes may hold tabs, quotes and ends of lines.
const splitTable = (text) => {
  const lines = [];
  let [cells, number, at] = [[], 1, 0];
  let start = 1;
  const content = text.replace(/^\ufeff/, "").replace(/\r\n?/g, "\n");
  while (at < content.length) {
    let value = "";
    if (content[at] === '"') {
      const end = /"(?:[^"]|"")*"/y;
      end.lastIndex = at;
      const found = end.exec(content);
      if (!found) throw new Error(`line ${start}: a quotation mark is not closed`);
      value = found[0].slice(1, -1).replaceAll('""', '"');
      number += value.split("\n").length - 1;
      at = end.lastIndex;
    }
    const rest = /[^\t\n]*/y;
    rest.lastIndex = at;
    value += rest.exec(content)[0];
    at = rest.lastIndex;
    cells.push(value);
    const last = content[at] !== "\t";
    if (last) {
      if (cells.length > 1 || cells[0] !== "") lines.push({ number: start, cells });
      cells = [];
      number += 1;
      start = number;
    } else if (at === content.length - 1) {
      cells.push("");
      lines.push({ number: start, cells });
    }
    at += 1;
  }
  return lines;
};

const readTable = (text) => {
  const [head, ...lines] = splitTable(text);
  const names = head ? head.cells : [];
  for (const name of ["source", "rating", "rater", "date"]) {
    if (!names.includes(name)) throw new Error(`line 1: there is no column ${name}`);
  }
  return lines.map(({ number, cells }) => {
    const get = (name) => {
      const value = unguard(makeOneLine(cells[names.indexOf(name)] ?? ""));
      return value === "n/a" ? "" : value;
    };
    const row = Object.fromEntries(COLUMNS.map((name) => [name, get(name)]));
    if (!row.source) throw new Error(`line ${number}: there is no source`);
    if (!WORDS.includes(row.rating)) {
      throw new Error(`line ${number}: rating is "${row.rating}"; expected ${WORDS.join(", ")}`);
    }
    const date = readDate(row.date);
    if (date === null) {
      throw new Error(`line ${number}: date is "${row.date}"; expected one such as 2026-11-27T10:00:00Z`);
    }
    return { ...row, date };
  });
};

// All ratings by scan and person: those of the folder, and newer ones that this browser keeps.
const makeRatings = (data) => {
  const prefix = `n4ax rating\t${data.Dataset}\t${location.href.replace(/[^/]*$/, "")}\t`;
  const bySource = new Map();
  const saved = new Map();  // what the folder has
  const own = new Map();  // what this browser keeps
  const mark = (row) => `${row.source}\t${row.rater}`;
  let storage = null;
  try {
    storage = window.localStorage;
    storage.setItem("n4ax test", "1");
    storage.removeItem("n4ax test");
  } catch {
    storage = null;
  }

  const put = (row) => {
    const rows = bySource.get(row.source) ?? new Map();
    if (rows.get(row.rater)?.date > row.date) return;
    rows.set(row.rater, row);
    bySource.set(row.source, rows);
  };
  const collect = () => {
    bySource.clear();
    for (const row of [...saved.values(), ...own.values()]) put(row);
  };
  const load = () => {
    for (let at = 0; storage && at < storage.length; at += 1) {
      const key = storage.key(at);
      if (!key.startsWith(prefix)) continue;
      try {
        const row = JSON.parse(storage.getItem(key));
        if (WORDS.includes(row.rating) && COLUMNS.every((name) => typeof row[name] === "string")) {
          own.set(mark(row), row);
        }
      } catch { /* what other programs left there is no rating */ }
    }
    collect();
  };
  for (const cells of data.Rows) {
    const row = Object.fromEntries(COLUMNS.map((name, at) => [name, cells[at]]));
    saved.set(mark(row), row);
  }
  load();
  return {
    prefix,
    reload: () => {
      own.clear();
      load();
    },
    keeps: () => storage !== null,
    all: () => [...bySource.values()].flatMap((rows) => [...rows.values()])
      .sort((one, other) => (mark(one) < mark(other) ? -1 : 1)),
    countUnsaved: () => [...own].filter(([key, row]) => !(saved.get(key)?.date >= row.date)).length,
    sources: () => [...bySource.keys()],
    // The newest first; several people may have rated a scan.
    of: (source) => [...(bySource.get(source)?.values() ?? [])]
      .sort((one, other) => (one.date < other.date ? 1 : -1)),
    add: (row) => {
      if (own.get(mark(row))?.date > row.date) return;
      own.set(mark(row), row);
      put(row);
      try {
        storage?.setItem(prefix + mark(row), JSON.stringify(row));
      } catch {
        storage = null;  // it is full; the page says that it does not keep the ratings
      }
    },
    // Takes a rating back; one that is in the folder stays.
    drop: (source, rater) => {
      own.delete(mark({ source, rater }));
      storage?.removeItem(prefix + mark({ source, rater }));
      collect();
    },
    rater: (name) => {
      try {
        if (name === undefined) return storage?.getItem("n4ax rater") ?? "";
        storage?.setItem("n4ax rater", name);
      } catch { /* it is only not remembered */ }
      return name ?? "";
    },
  };
};

const copyText = async (button) => {
  const code = button.parentElement.querySelector("code");
  try {
    await navigator.clipboard.writeText(code.textContent);
  } catch {
    getSelection().selectAllChildren(code);
    document.execCommand("copy");
  }
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
};

// `page` may have: results (a map from each source to its result), find (the element of a scan,
// by its source), move (goes to another scan), changed (called after a rating changed).
const startRating = (page = {}) => {
  const get = (id) => document.getElementById(id);
  const data = JSON.parse(get("ratings").textContent);
  const ratings = makeRatings(data);
  const elements = () => [...document.querySelectorAll("[data-source]")];
  const results = page.results
    ?? new Map(elements().map((element) => [element.dataset.source, element.dataset.result || ""]));
  const person = get("rater");
  let pending = null;
  person.value = ratings.rater();

  const say = (text, bad = false) => {
    get("rating-status").textContent = text;
    get("rating-status").classList.toggle("bad", bad);
  };
  const isOld = (row) => {
    const result = results.get(row.source);
    return Boolean(row.result && result && row.result !== result);
  };
  // The rating that counts: the newest. The other people's are told beside it.
  const current = (source) => ratings.of(source)[0];
  const describe = (row) => {
    const part = document.createElement("span");
    const words = [row.rating, row.rater && `by ${row.rater}`, row.note && `“${row.note}”`];
    part.textContent = words.filter(Boolean).join(" ");
    if (isOld(row)) {
      const old = document.createElement("span");
      old.className = "old";
      old.textContent = " (outdated: of an earlier result)";
      part.append(old);
    }
    return part;
  };
  const paint = (element) => {
    const rows = ratings.of(element.dataset.source);
    element.dataset.rated = rows.length ? rows[0].rating : "";
    element.classList.toggle("old-rating", rows.length > 0 && isOld(rows[0]));
    for (const button of element.querySelectorAll("[data-rate]")) {
      const chosen = rows.length > 0 && rows[0].rating === button.dataset.rate;
      button.setAttribute("aria-pressed", chosen);
    }
    const place = element.querySelector(".rated");
    if (!place) return;
    place.replaceChildren(...rows.flatMap((row, at) => (at ? ["; ", describe(row)] : [describe(row)])));
  };
  const summarise = () => {
    const unsaved = ratings.countUnsaved();
    get("unsaved").hidden = unsaved === 0 && ratings.keeps();
    const kept = ratings.keeps()
      ? "They are kept in this browser until you save them."
      : "This browser does not let the page keep them: save them before you close it.";
    const count = `${unsaved} rating${unsaved === 1 ? " is" : "s are"} not in the folder yet. `;
    get("unsaved").textContent = (unsaved ? count : "") + kept;
    page.changed?.();
    if (!get("next-steps")) return;
    const rejected = ratings.sources().filter((source) => {
      const row = current(source);
      return results.has(source) && row.rating === "reject" && !isOld(row);
    }).length;
    get("next-steps").hidden = rejected === 0;
    get("next-steps-head").textContent = `${rejected} scan${rejected === 1 ? " is" : "s are"} rejected. To correct ${rejected === 1 ? "it" : "them"} with other settings:`;
  };
  const repaint = () => {
    for (const element of elements()) paint(element);
    summarise();
  };
  const show = (source) => {
    for (const element of elements()) if (element.dataset.source === source) paint(element);
    summarise();
  };

  // A rating needs a name; it is asked for once, and then what was wanted is done.
  const withName = (element, action) => {
    if (!results.has(element.dataset.source)) {
      say(`${element.dataset.name}: there is no result to rate`, true);
      return;
    }
    if (person.value.trim()) {
      action();
      return;
    }
    pending = { action, from: document.activeElement };
    say("Type your name, then Enter: it is kept with each rating.", true);
    person.focus();
  };
  const write = (element, rating, note) => withName(element, () => {
    const { source, name } = element.dataset;
    const rater = makeOneLine(person.value);
    const date = new Date().toISOString();
    const own = ratings.of(source).find((row) => row.rater === rater);
    ratings.add({
      source, rating, rater, date, note: makeOneLine(note ?? own?.note ?? ""), result: results.get(source) ?? "",
    });
    say(`${name}: ${rating}`);
    show(source);
  });
  const clear = (element) => {
    ratings.drop(element.dataset.source, makeOneLine(person.value));
    const left = current(element.dataset.source);
    say(`${element.dataset.name}: ${left ? `${left.rating}, as in the folder` : "not rated"}`);
    show(element.dataset.source);
  };
  const askForNote = (element) => {
    if (!results.has(element.dataset.source)) return;
    const dialog = get("note-dialog");
    const own = ratings.of(element.dataset.source).find((row) => row.rater === makeOneLine(person.value));
    get("note-title").textContent = `Note on ${element.dataset.name}`;
    get("note-text").value = own?.note ?? "";
    dialog.returnValue = "";
    dialog.onclose = () => {
      if (dialog.returnValue !== "keep") return;
      write(element, own?.rating ?? "unsure", get("note-text").value);
    };
    dialog.showModal();
  };

  const select = (element) => {
    for (const other of document.querySelectorAll("[data-source].current")) other.classList.remove("current");
    element.classList.add("current");
  };
  const findCurrent = () => document.querySelector("[data-source].current");
  const go = (element) => {
    select(element);
    element.focus({ preventScroll: true });
    element.scrollIntoView({ block: "nearest" });
  };
  const move = (step) => {
    const all = elements();
    const at = all.indexOf(findCurrent());
    const next = all[Math.min(Math.max(at + step, 0), all.length - 1)];
    if (next) go(next);
  };
  const actions = {
    a: (element) => write(element, "accept"),
    u: (element) => write(element, "unsure"),
    r: (element) => write(element, "reject"),
    n: askForNote,
    c: clear,
  };
  const steps = { j: 1, k: -1, ArrowDown: 1, ArrowUp: -1, ArrowRight: 1, ArrowLeft: -1 };
  document.addEventListener("keydown", (event) => {
    const { target, key } = event;
    const typing = target.closest("input, textarea, select, dialog, [contenteditable]");
    if (key === "Escape" && target.matches("input, select") && !target.closest("dialog")) target.blur();
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const onScan = target.matches("[data-source]");
    if (key === "?") get("keys-dialog").showModal();
    else if (key in steps && (key.length === 1 || onScan)) (page.move ?? move)(steps[key], key);
    else if (key in actions && findCurrent()) actions[key](findCurrent());
    else return;
    event.preventDefault();
  });
  document.addEventListener("focusin", (event) => {
    const element = event.target.closest("[data-source]");
    if (element) select(element);
  });
  document.addEventListener("click", (event) => {
    const element = event.target.closest("[data-source]");
    if (element) select(element);
    const button = event.target.closest("button");
    if (!button) return;
    if ("copy" in button.dataset) copyText(button);
    if (!element) return;
    if ("note" in button.dataset) askForNote(element);
    if (!button.dataset.rate) return;
    if (button.getAttribute("aria-pressed") === "true") clear(element);
    else write(element, button.dataset.rate);
  });

  person.addEventListener("change", () => {
    ratings.rater(makeOneLine(person.value));
    if (!pending || !person.value.trim()) return;
    const { action, from } = pending;
    pending = null;
    action();
    from?.focus?.({ preventScroll: true });
  });
  person.addEventListener("keydown", (event) => {
    if (event.key === "Enter") person.blur();
  });
  get("show-keys").addEventListener("click", () => get("keys-dialog").showModal());
  get("export").addEventListener("click", () => {
    const rows = ratings.all();
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([writeTable(rows)], { type: "text/tab-separated-values" }));
    link.download = "ratings.tsv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    say(`${rows.length} rating${rows.length === 1 ? "" : "s"} saved.`);
  });
  get("import")?.addEventListener("click", () => get("import-file").click());
  get("import-file")?.addEventListener("change", async (event) => {
    const [file] = event.target.files;
    if (!file) return;
    try {
      const rows = readTable(await file.text());
      const known = rows.filter((row) => results.has(row.source));
      for (const row of known) ratings.add(row);
      const unknown = rows.length - known.length;
      const rest = unknown ? `; ${unknown} of scans that are not here left out` : "";
      say(`${known.length} rating${known.length === 1 ? "" : "s"} read${rest}.`);
    } catch (error) {
      say(`${file.name}, ${error.message}`, true);
    }
    event.target.value = "";
    repaint();
  });
  window.addEventListener("storage", (event) => {
    if (event.key !== null && !event.key.startsWith(ratings.prefix)) return;
    ratings.reload();
    repaint();
  });
  repaint();
  return { sources: ratings.sources, paint, current, isOld, go, select, findCurrent };
};
