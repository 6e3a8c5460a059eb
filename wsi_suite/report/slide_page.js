"use strict";

// Scores from counts: the same integers and the same order of operations as in Python.

function gradeCounts(row, ends) {
  const counts = [0, 0, 0, 0];
  for (let bin = 0; bin < row.length; bin += 1) {
    counts[ends.filter((end) => bin > end).length] += row[bin];
  }
  return counts;
}

function scoreCounts(counts) {
  const [negative, one, two, three] = counts;
  const positive = one + two + three;
  const measured = negative + positive;
  if (measured === 0) {
    return { counts, hScore: null, positivePercent: null, allred: null, irs: null };
  }
  const weighted = one + 2 * two + 3 * three;
  const intensity = positive === 0 ? 0 :
    1 + (3 * weighted > 5 * positive) + (3 * weighted > 7 * positive);
  return {
    counts,
    hScore: (weighted / measured) * 100,
    positivePercent: (positive / measured) * 100,
    allred: allredOf(positive, measured, intensity),
    irs: irsOf(positive, measured, intensity),
  };
}

function allredOf(positive, total, intensity) {
  if (positive === 0) return { proportion: 0, intensity: 0, score: 0 };
  const proportion =
    1 + (100 * positive >= total) + (10 * positive >= total) + (3 * positive > total) +
    (3 * positive > 2 * total);
  return { proportion, intensity, score: proportion + intensity };
}

function irsOf(positive, total, intensity) {
  const proportion = (positive > 0) + (10 * positive >= total) + (2 * positive > total) +
    (5 * positive > 4 * total);
  return { proportion, intensity, score: proportion * intensity };
}

// ends: places of the three thresholds among the edges. Class number `classes` is all of them.
function rowOf(part, label) {
  if (label < part.counts.length) return part.counts[label];
  const length = Math.max(0, ...part.counts.map((row) => row.length));
  return Array.from({ length }, (_, bin) =>
    part.counts.reduce((sum, row) => sum + (row[bin] || 0), 0));
}

function scorePart(part, label, ends) {
  return scoreCounts(gradeCounts(rowOf(part, label), ends));
}

// As Python rounds: exact ties go to the even digit.
function rounded(value, digits) {
  if (value === null) return "–";
  const scaled = value * 10 ** digits;
  const tie = Number.isInteger(value * 4) && scaled - Math.floor(scaled) === 0.5;
  const even = tie ? 2 * Math.round(scaled / 2) / 10 ** digits : value;
  return even.toFixed(digits).replace(/\B(?=(\d{3})+(?!\d))/g, (_, __, place, text) =>
    text.slice(0, place).includes(".") ? "" : ",").replace("-", "−");
}

// As Python: no percentage looks whole that is not, since cut-offs are whole.
function percentage(value) {
  let digits = 1;
  const whole = Math.abs(value - Math.round(value)) <= 1e-9;
  while (digits < 9 && !whole && Number.isInteger(Number(value.toFixed(digits)))) {
    digits += 1;
  }
  return `${rounded(value, digits)} %`;
}

function figureText(score, figure) {
  const grade = Number(figure.slice(-1));
  const measured = score.counts.reduce((sum, count) => sum + count, 0);
  if (figure.startsWith("count")) return rounded(score.counts[grade], 0);
  if (figure.startsWith("share")) {
    return measured ? percentage((100 * score.counts[grade]) / measured) : "";
  }
  if (score.hScore === null) return "–";
  switch (figure) {
    case "hScore": return rounded(score.hScore, 1);
    case "hScoreWhole": return rounded(score.hScore, 0);
    case "positivePercent": return percentage(score.positivePercent);
    case "allred": return String(score.allred.score);
    case "allredParts": return `${score.allred.proportion} + ${score.allred.intensity}`;
    case "irs": return String(score.irs.score);
    case "irsParts": return `${score.irs.proportion} × ${score.irs.intensity}`;
    default: return "";
  }
}

function barsPath(row, live) {
  const steps = Math.round(live.topOd / live.stepOd);
  const total = row.reduce((sum, count) => sum + count, 0);
  const span = total <= 500 ? 5 : total <= 5000 ? 2 : 1;
  const bars = new Array(Math.ceil(steps / span)).fill(0);
  row.forEach((count, bin) => {
    const edge = bin === 0 ? 0 : live.edges[bin - 1];
    const start = Math.min(Math.floor(edge / live.stepOd + 1e-6), steps - 1);
    bars[Math.floor(start / span)] += count;
  });
  const highest = Math.max(1, ...bars);
  return bars.map((count, place) => count === 0 ? "" :
    `M${place * span},100V${(100 - (100 * count) / highest).toFixed(1)}` +
    `H${Math.min((place + 1) * span, steps)}V100Z`).join("");
}

function start() {
  const live = JSON.parse(document.getElementById("counts").textContent);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const original = live.thresholds.map((value) => live.edges.indexOf(value));
  const sliders = all("[data-threshold]");
  let ends = [...original];

  const share = (place) => Math.min(1, live.edges[place] / live.topOd);
  const setSpan = (element, from, to) => {
    element.setAttribute("x", `${100 * from}%`);
    element.setAttribute("width", `${100 * Math.max(0, to - from)}%`);
  };

  function showFigures() {
    const known = new Map();
    for (const element of all("[data-figure]")) {
      const label = element.dataset.class === "headline" ? live.headline : element.dataset.class;
      const key = `${element.dataset.part},${label}`;
      if (!known.has(key)) {
        known.set(key, scorePart(live.parts[element.dataset.part], Number(label), ends));
      }
      element.textContent = figureText(known.get(key), element.dataset.figure);
    }
    const { counts } = known.get(`0,${live.headline}`);
    const total = Math.max(1, counts.reduce((sum, count) => sum + count, 0));
    const rects = all("[data-stack] rect");
    let from = 0;
    counts.forEach((count, grade) => {
      const to = from + count / total;
      setSpan(rects[2 * grade], from, to);
      setSpan(rects[2 * grade + 1], from, to);
      from = to;
    });
  }

  function showThresholds() {
    const borders = [0, ...ends.map(share), 1];
    all("[data-band]").forEach((band, grade) => setSpan(band, borders[grade], borders[grade + 1]));
    all("[data-band-name]").forEach((name, grade) => {
      name.setAttribute("x", `${50 * (borders[grade] + borders[grade + 1])}%`);
      name.style.visibility = borders[grade + 1] - borders[grade] < 0.05 ? "hidden" : "visible";
    });
    const place = (line, at) => {
      line.setAttribute("x1", `${100 * at}%`);
      line.setAttribute("x2", `${100 * at}%`);
    };
    all("[data-line]").forEach((line, number) => place(line, share(ends[number])));
    all("[data-was]").forEach((line, number) => place(line, share(original[number])));
    const values = ends.map((end) => live.edges[end]);
    sliders.forEach((slider, number) => {
      slider.value = ends[number];
      slider.setAttribute("aria-valuetext", `${values[number]} OD`);
    });
    all("[data-value]").forEach((output, number) => { output.textContent = values[number]; });
    all("[data-thresholds]").forEach((text) => { text.textContent = values.join(" / "); });
    all("[data-command]").forEach((code) => {
      code.textContent = live.command[0] + values.join(",") + live.command[1];
    });
    const moved = ends.some((end, number) => end !== original[number]);
    document.body.classList.toggle("moved-thresholds", moved);
    all(".moved").forEach((note) => { note.hidden = !moved; });
  }

  function showBars() {
    const [part, label] = document.querySelector("[data-shown]").value.split(",").map(Number);
    document.querySelector(".bars").setAttribute("d", barsPath(rowOf(live.parts[part], label), live));
  }

  function moveTo(places) {
    ends = places;
    showFigures();
    showThresholds();
  }

  sliders.forEach((slider, number) => slider.addEventListener("input", () => {
    const places = [...ends];
    const lowest = number === 0 ? 0 : places[number - 1] + 1;
    const highest = number === 2 ? live.edges.length - 1 : places[number + 1] - 1;
    places[number] = Math.min(Math.max(Number(slider.value), lowest), highest);
    moveTo(places);
  }));
  all("[data-reset]").forEach((button) => button.addEventListener("click", () => {
    moveTo([...original]);
    sliders[0].focus({ preventScroll: true });
  }));
  document.querySelector("[data-copy]").addEventListener("click", async () => {
    const code = document.querySelector("[data-command]");
    const told = document.querySelector("[data-copied]");
    try {
      await navigator.clipboard.writeText(code.textContent);
      told.textContent = "Copied.";
    } catch {
      getSelection().selectAllChildren(code);
      told.textContent = "Selected; copy it with the keyboard.";
    }
  });
  document.querySelector("[data-shown]").addEventListener("change", showBars);
  all("[data-hide]").forEach((box) => box.addEventListener("change", () => {
    document.body.classList.toggle(`no-${box.dataset.hide}`, !box.checked);
  }));
  moveTo(ends);
}

if (typeof document === "undefined") {
  module.exports = { barsPath, figureText, percentage, rowOf, rounded, scorePart };
} else {
  start();
}
