// The functions that flip a picture, by the figure: they take whether to show it as it was before.
const flips = new Map();
const scans = [...document.querySelectorAll("[data-source]")];

for (const viewer of document.querySelectorAll(".compare")) {
  const frame = viewer.querySelector(".frame");
  if (!frame) continue;
  const planes = viewer.querySelector(".planes");
  const range = viewer.querySelector("input");
  const tags = frame.querySelectorAll(".tag");
  const cells = Number(planes.dataset.cells);
  let held = null;

  const show = (percent) => {
    const value = Math.min(Math.max(percent, 0), 100);
    range.value = value;
    range.setAttribute("aria-valuetext", `${Math.round(value)} % before`);
    frame.style.setProperty("--split", value / 100);
    tags[0].style.opacity = value > 0 ? 1 : 0;
    tags[1].style.opacity = value < 100 ? 1 : 0;
  };
  // The edge follows the pointer in the plane where the drag began, and moves alike in all planes.
  const follow = (event) => {
    const box = planes.getBoundingClientRect();
    const place = ((event.clientX - box.left) / box.width) * cells;
    if (held === null) held = Math.min(Math.max(Math.floor(place), 0), cells - 1);
    show((place - held) * 100);
  };

  range.addEventListener("input", () => show(Number(range.value)));
  flips.set(viewer, {
    isBefore: () => Number(range.value) === 100,
    to: (before) => show(before ? 100 : 0),
  });
  planes.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    planes.setPointerCapture(event.pointerId);
    held = null;
    follow(event);
  });
  planes.addEventListener("pointermove", (event) => {
    if (held !== null) follow(event);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    planes.addEventListener(end, () => { held = null; });
  }
  const choices = viewer.querySelectorAll("[data-plane]");
  for (const chosen of choices) {
    chosen.addEventListener("click", () => {
      const plane = Number(chosen.dataset.plane);
      viewer.classList.toggle("one", plane > 0);
      frame.style.setProperty("--plane", plane - 1);
      for (const each of choices) each.setAttribute("aria-pressed", each === chosen);
    });
  }
  show(Number(range.value));
}

for (const viewer of document.querySelectorAll(".slices")) {
  const pictures = viewer.querySelectorAll("[data-view]");
  const choices = viewer.querySelectorAll("[data-show]");
  const show = (name) => {
    for (const picture of pictures) picture.hidden = picture.dataset.view !== name;
    for (const each of choices) each.setAttribute("aria-pressed", each.dataset.show === name);
  };
  for (const chosen of choices) chosen.addEventListener("click", () => show(chosen.dataset.show));
  flips.set(viewer, {
    isBefore: () => !viewer.querySelector("[data-view=before]")?.hidden,
    to: (before) => show(before ? "before" : "after"),
  });
}

for (const [viewer, flip] of flips) {
  viewer.querySelector(".flip").addEventListener("click", () => flip.to(!flip.isBefore()));
  const button = viewer.querySelector(".outlined");
  button?.addEventListener("click", () => {
    const line = viewer.querySelector(".line");
    line.hidden = !line.hidden;
    button.setAttribute("aria-pressed", !line.hidden);
  });
}

// Links into a part that is closed open it.
for (const link of document.querySelectorAll("main a[href^='#']")) {
  link.addEventListener("click", () => {
    const part = document.getElementById(decodeURIComponent(link.hash.slice(1)))?.closest("details");
    if (part) part.open = true;
  });
}

if (scans.length) {
  const findSeen = () => scans.find((scan) => scan.getBoundingClientRect().bottom > innerHeight * 0.4)
    ?? scans.at(-1);
  const rating = startRating({
    move: (step) => {
      const at = scans.indexOf(findSeen()) + step;
      const next = scans[Math.min(Math.max(at, 0), scans.length - 1)];
      rating.go(next);
      next.scrollIntoView({ block: "start", behavior: "instant" });
    },
  });
  // The keys that rate are for the scan that is looked at.
  const select = () => {
    if (findSeen() !== rating.findCurrent()) rating.select(findSeen());
  };
  addEventListener("scroll", select, { passive: true });
  select();

  const flipAll = (scan) => {
    const all = [...flips].filter(([viewer]) => scan.contains(viewer)).map(([, flip]) => flip);
    const before = !all[0]?.isBefore();
    for (const flip of all) flip.to(before);
  };
  const outlineAll = (scan) => {
    const buttons = [...scan.querySelectorAll(".outlined")];
    const shown = buttons[0]?.getAttribute("aria-pressed");
    for (const button of buttons) if (button.getAttribute("aria-pressed") === shown) button.click();
  };
  const actions = {
    f: () => flipAll(findSeen()),
    o: () => outlineAll(findSeen()),
    h: () => document.querySelector("a[rel=prev]")?.click(),
    l: () => document.querySelector("a[rel=next]")?.click(),
    g: () => document.querySelector("a[href='group.html']")?.click(),
  };
  document.addEventListener("keydown", ({ target, key, ctrlKey, metaKey, altKey }) => {
    const typing = target.closest("input:not([type=range]), textarea, select, dialog");
    if (!typing && !ctrlKey && !metaKey && !altKey) actions[key]?.();
  });
}
