"use strict";
// Everything is readable without this script. It searches clips, reads values off charts, and plays only the videos that are seen.

for (const box of document.querySelectorAll(".search")) {
  box.hidden = false;
  const input = box.querySelector("input"), output = box.querySelector("output");
  const cards = [...document.querySelectorAll(".card")].map((card) => [card, card.textContent.toLowerCase()]);
  input.addEventListener("input", () => {
    const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const [card, text] of cards) {
      card.hidden = !wanted.every((word) => text.includes(word));
      shown += !card.hidden;
    }
    output.textContent = wanted.length ? `${shown} of ${cards.length}` : "";
  });
}

for (const plot of document.querySelectorAll(".plot.lines")) {
  const lines = [...plot.querySelectorAll(".line")].map((line) => ({
    name: line.dataset.name, style: line.classList[1], points: JSON.parse(line.dataset.points),
  }));
  const cursor = document.createElement("div"), reading = document.createElement("div");
  cursor.className = "cursor";
  reading.className = "reading";
  cursor.hidden = reading.hidden = true;
  plot.append(cursor, reading);
  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect(), at = ((event.clientX - box.left) / box.width) * 100;
    reading.replaceChildren(...lines.map(({ name, style, points }) => {
      const nearest = points.reduce((a, b) => (Math.abs(b[0] - at) < Math.abs(a[0] - at) ? b : a));
      const row = document.createElement("div");
      row.className = style;
      row.textContent = `${name}, ${nearest[2]}`;
      return row;
    }));
    cursor.hidden = reading.hidden = false;
    cursor.style.left = `${Math.min(100, Math.max(0, at))}%`;
    reading.style.left = at < 50 ? `calc(${at}% + 10px)` : "auto";
    reading.style.right = at < 50 ? "auto" : `calc(${100 - at}% + 10px)`;
  });
  plot.addEventListener("pointerleave", () => (cursor.hidden = reading.hidden = true));
}

const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting && !still) target.play().catch(() => (target.controls = true));
    else target.pause();
  }
});
for (const video of document.querySelectorAll("video")) {
  if (still) video.controls = true;
  seen.observe(video);
}
