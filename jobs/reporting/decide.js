// The controls that move bounds, and what they make of the page; decision.js decides.
{
  const thousands = (value) => Math.round(value).toLocaleString("en-US");
  const number = (value) => String(Number(value.toPrecision(DIGITS)));
  const figure = (value) => (Math.abs(value) < 1e7 && (value === 0 || Math.abs(value) >= 1e-4)
    ? Number(value.toPrecision(3)).toLocaleString("en-US", { maximumFractionDigits: 20 }) : value.toExponential(2));
  const count = (value) => `${thousands(value)} ${Math.round(value) === 1 ? "clip" : "clips"}`;
  function length(seconds) { // as text.py writes it
    if (seconds < 1) return `${seconds.toFixed(2)} s`;
    if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
    const whole = Math.round(seconds), minutes = Math.floor(whole / 60), two = (n) => String(n).padStart(2, "0");
    return minutes < 60 ? `${minutes} min ${two(whole % 60)} s` : `${thousands(Math.floor(minutes / 60))} h ${two(minutes % 60)} min`;
  }

  function readScore(element) {
    const plot = element.querySelector(".plot"), fields = [...element.querySelectorAll(".bounds input")];
    const own = { ...OFF }, line = element.querySelector(".refusals");
    for (const field of fields) if (field.dataset.own) own[field.dataset.side] = Number(field.dataset.own);
    return {
      element, plot, fields, own, now: { ...own }, key: element.dataset.key, counts: JSON.parse(element.dataset.counts),
      axis: plot && new Axis(plot.dataset), bins: unpack(element.dataset.bins, Uint8Array),
      values: fields.length ? unpack(element.dataset.values, Float32Array) : null,
      later: "later" in element.dataset, handles: [...element.querySelectorAll(".handle")], said: line?.innerHTML, refusedByOwn: Number(line?.dataset.refused),
    };
  }

  function bars(counts, most, ground) { // as histograms.py draws them
    const width = 100 / counts.length;
    return counts.map((value, k) => {
      const from = ground[k];
      if (value < 0.5) return "";
      ground[k] = from - Math.max(1.2, (100 * value) / most);
      return `M${(k * width + 0.2).toFixed(2)} ${from.toFixed(2)}V${ground[k].toFixed(2)}h${(width - 0.4).toFixed(2)}V${from.toFixed(2)}z`;
    }).join("");
  }

  function drawBars(score, kept) {
    const all = score.counts[0].map((value, bin) => value + score.counts[1][bin]), most = Math.max(...all);
    score.shown = kept.map((value, bin) => [value, all[bin] - value]);
    if (score.plot) {
      const ground = all.map(() => 100), [below, above] = score.element.querySelectorAll(".plot path");
      below.setAttribute("d", bars(kept, most, ground));
      above.setAttribute("d", bars(all.map((value, bin) => value - kept[bin]), most, ground));
    } else {
      score.element.querySelectorAll(".labels div").forEach((bar, bin) => {
        const [below, above] = bar.children;
        below.style.width = `${(100 * kept[bin]) / most}%`;
        above.style.width = `${(100 * (all[bin] - kept[bin])) / most}%`;
        bar.title = `${thousands(kept[bin])} kept, ${thousands(all[bin] - kept[bin])} rejected`;
      });
    }
  }

  function stepOf(score, side, bound) {
    if (bound === OFF[side]) return side === "min" ? 0 : STEPS;
    return Math.min(STEPS - 1, Math.max(1, Math.round((score.axis.place(bound) * STEPS) / 100)));
  }

  // Handles, lines, fields and the clips around a bound, after the bounds of one score have changed.
  function drawBounds(score) {
    for (const side of ["min", "max"]) {
      const bound = score.now[side], off = bound === OFF[side];
      const at = off ? (side === "min" ? 0 : 100) : score.axis.place(bound);
      const handle = score.handles.find((h) => h.dataset.side === side), field = score.fields.find((f) => f.dataset.side === side);
      if (!handle) continue;
      const text = off ? "" : `${side === "min" ? "≥" : "≤"} ${Number(bound.toPrecision(4))}`, label = score.plot.querySelector(`span.bound.${side}`);
      const step = stepOf(score, side, bound);
      if (Number(handle.value) !== step) handle.value = step;
      handle.setAttribute("aria-valuetext", off ? "no bound" : number(bound));
      handle.classList.toggle("off", off);
      handle.style.zIndex = (side === "min") === at > 50 ? 3 : 2; // the one that could not be reached under the other
      if (document.activeElement !== field) field.value = off ? "" : number(bound);
      field.classList.toggle("changed", bound !== score.own[side]);
      label.hidden = off;
      label.textContent = text;
      label.style.left = `${at}%`;
      label.style.setProperty("--at", `${at}%`);
      score.plot.querySelector(`.refused.${side}`).style.width = `${side === "min" ? at : 100 - at}%`;
    }
    for (const near of score.element.querySelectorAll(".near")) {
      const value = Number(near.dataset.value);
      near.classList.toggle("out", value < score.now.min || value > score.now.max);
    }
  }

  const verdict = document.querySelector(".verdict");
  const scores = [...document.querySelectorAll(".score")].map(readScore);
  const kinds = ["kept", "rejected"].map((name) => {
    const [clips, seconds, held] = JSON.parse(verdict.dataset[name]);
    return { clips, seconds, held };
  });
  const decision = new Decision(kinds, unpack(verdict.dataset.fixed, Uint8Array), unpack(verdict.dataset.seconds, Float32Array), scores);
  const all = { clips: kinds[0].clips + kinds[1].clips, seconds: kinds[0].seconds + kinds[1].seconds };
  const part = (selector) => verdict.querySelector(selector);
  const command = part("code"), select = command.textContent, said = part(".said");

  function changes() {
    return scores.flatMap((score) => ["min", "max"].filter((side) => score.now[side] !== score.own[side])
      .map((side) => [`${side}.${score.key}`, Number.isFinite(score.now[side]) ? number(score.now[side]) : side === "min" ? "-inf" : "inf"]));
  }

  function draw() {
    const changed = changes(), now = decision.tally(), about = decision.isSample && changed.length ? "≈ " : "";
    const more = now.clips - kinds[0].clips, moreS = now.seconds - kinds[0].seconds, sign = (value) => (value < 0 ? "−" : "+");
    part(".clips").textContent = `${about}${count(now.clips)}, ${length(now.seconds)}`;
    part(".of").textContent = `of ${count(all.clips)}, ${length(all.seconds)}`;
    part(".change").textContent = !changed.length ? "as the recipe decides"
      : `${sign(more)}${count(Math.abs(more))}, ${sign(moreS)}${length(Math.abs(moreS))}${about ? ` (± ${thousands(now.margin)} clips)` : ""}`;
    part(".change").className = `change ${more < 0 ? "rejected" : more > 0 ? "kept" : ""}`;
    part(".gauge i").style.width = `${(100 * now.clips) / (all.clips || 1)}%`;
    part(".gauge b").style.left = `${(100 * kinds[0].clips) / (all.clips || 1)}%`;
    Object.assign(verdict.dataset, { clips: now.clips, hours: now.seconds / 3600 });
    command.textContent = [select, ...changed.map(([key, value]) => `recipe.${key}=${value}`)].join(" ");
    verdict.classList.toggle("changed", changed.length > 0);
    for (const button of verdict.querySelectorAll("button")) button.disabled = !changed.length;
    said.textContent = "";
    scores.forEach((score, k) => {
      drawBars(score, now.bins[k]);
      const line = score.element.querySelector(".refusals");
      if (!line) return;
      const own = score.now.min === score.own.min && score.now.max === score.own.max, refusals = own ? score.refusedByOwn : now.refused[k];
      Object.assign(line.dataset, { refused: refusals, alone: now.alone[k] });
      if (!changed.length) line.innerHTML = score.said;
      else if (!refusals) line.textContent = decision.asks(score) ? "refuses none" : "";
      else {
        const refused = document.createElement("em");
        refused.textContent = `${own ? "" : about}${thousands(refusals)} refused`;
        line.replaceChildren(refused, `, ${about}${thousands(now.alone[k])} of them by nothing else`);
      }
    });
  }

  // One side or both; one that moves stops at the other.
  function setBounds(score, bounds) {
    for (const [side, value] of Object.entries(bounds)) {
      const whole = !Number.isFinite(value) || value === score.own[side];
      score.now[side] = whole ? value : Number(value.toPrecision(DIGITS));
    }
    const { min, max } = score.now;
    if (min > max) Object.assign(score.now, "min" in bounds ? { min: max } : { max: min });
    decision.apply(score);
    drawBounds(score);
  }

  function reset() {
    for (const score of scores) if (score.values) setBounds(score, score.own);
  }

  // A link that carries a decision: #min.motion_mean=0.01&max.luma_mean=; nothing after = is no bound.
  function follow() {
    const found = location.hash.slice(1).split("&").map((text) => text.match(/^(min|max)\.([a-z0-9_]+)=(-?inf|[-+.e\d]*)$/i)).filter(Boolean);
    if (!found.length) return;
    reset();
    const unknown = [], wanted = new Map();
    for (const [, side, key, text] of found) {
      const score = scores.find((s) => s.key === key && s.fields.some((f) => f.dataset.side === side));
      const value = text === "" || /inf/i.test(text) ? OFF[side] : Number(text);
      if (score && !Number.isNaN(value)) wanted.set(score, { ...wanted.get(score), [side]: value });
      else unknown.push(`${side}.${key}`);
    }
    wanted.forEach((bounds, score) => setBounds(score, bounds));
    draw();
    if (unknown.length) said.textContent = `The link also bounds ${unknown.join(", ")}, which can not be bounded here.`;
    document.getElementById("decide").scrollIntoView();
  }

  async function copy(text, what) {
    const shown = document.createElement("span");
    shown.textContent = text;
    said.replaceChildren(shown);
    getSelection().selectAllChildren(shown);
    const done = await navigator.clipboard?.writeText(text).then(() => true, () => false) || document.execCommand("copy"); // a page on disk may not use the first
    if (done) said.replaceChildren(`${what} is in the clipboard.`); // else it stays, selected
  }

  for (const score of scores) {
    if (!score.values) continue;
    score.element.querySelector(".bounds").hidden = false;
    for (const handle of score.handles) {
      handle.hidden = false;
      const { side } = handle.dataset, end = side === "min" ? 0 : STEPS;
      handle.addEventListener("input", () => {
        const step = Number(handle.value), own = score.own[side];
        const value = step === end ? OFF[side] : step === stepOf(score, side, own) ? own : score.axis.tidy(score.axis.value((100 * step) / STEPS));
        setBounds(score, { [side]: value });
        draw();
      });
    }
    for (const field of score.fields) {
      const { side } = field.dataset;
      field.addEventListener("input", () => {
        if (field.validity.badInput) return; // half a number, like "-"
        setBounds(score, { [side]: field.value === "" ? OFF[side] : Number(field.value) });
        draw();
      });
      field.addEventListener("blur", () => drawBounds(score));
    }
    drawBounds(score);
  }

  for (const score of scores) {
    if (!score.plot) continue;
    const reading = document.createElement("div");
    reading.className = "reading";
    reading.hidden = true;
    score.plot.append(reading);
    score.plot.addEventListener("pointermove", (event) => {
      const box = score.plot.getBoundingClientRect(), at = (100 * (event.clientX - box.left)) / box.width, num = score.shown.length;
      const bin = Math.min(num - 1, Math.max(0, Math.floor((at * num) / 100))), [kept, rejected] = score.shown[bin];
      const from = bin === 0 && score.axis.log ? "up" : figure(score.axis.value((100 * bin) / num));
      reading.textContent = `${from} to ${figure(score.axis.value((100 * (bin + 1)) / num))}: ${thousands(kept)} kept, ${thousands(rejected)} rejected`;
      reading.hidden = false;
      reading.style.left = at < 50 ? `calc(${at}% + 10px)` : "auto";
      reading.style.right = at < 50 ? "auto" : `calc(${100 - at}% + 10px)`;
    });
    score.plot.addEventListener("pointerleave", () => (reading.hidden = true));
  }

  part(".copy").addEventListener("click", () => copy(command.textContent, "The command"));
  part(".link").addEventListener("click", () => {
    const fragment = changes().map(([key, value]) => `${key}=${value}`).join("&");
    copy(`${location.href.split("#")[0]}#${fragment}`, "The link");
  });
  part(".reset").addEventListener("click", () => (reset(), draw()));
  addEventListener("hashchange", follow);
  verdict.hidden = false;
  draw();
  follow();
}
