"use strict";
for (const viewer of document.querySelectorAll(".compare")) {
  const frame = viewer.querySelector(".frame");
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
  viewer.querySelector(".flip").addEventListener("click", () => {
    show(Number(range.value) === 100 ? 0 : 100);
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
