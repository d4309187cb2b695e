/** Draws clients' work in virtual time. */

import { color } from "./colors.js";
import { sharpen } from "./dom.js";
import * as format from "./format.js";

/** @typedef {import("./model.js").Model} Model @typedef {import("./model.js").Span} Span */

/** The meaning of bars: words, colour and style. */
export const KINDS = {
  working: { words: "at work", color: "working", style: "open" },
  sent: { words: "arrived", color: "sent", style: "full" },
  slow: { words: "arrived, slowed by a fault", color: "slow", style: "hatched" },
  late: { words: "late", color: "late", style: "hollow" },
  stale: { words: "too old", color: "late", style: "thin" },
  dropped: { words: "dropped out", color: "dropped", style: "cross" },
  failed: { words: "failed", color: "failed", style: "triangle" },
  lost: { words: "update lost", color: "lost", style: "dashed" },
  refused: { words: "update refused", color: "ink", style: "cap" },
  restarting: { words: "starting again", color: "failed", style: "thin" },
  away: { words: "away", color: "away", style: "thin" },
};

/** Outcomes of a round, from the bottom of a column to its top, and their colours. */
const OUTCOMES = [["aggregated", "sent"], ["late", "late"], ["lost", "lost"], ["refused", "ink"],
  ["dropped", "dropped"], ["failed", "failed"]];

/**
 * The stretch of virtual time that is shown.
 * @param {Model} model @param {number} rounds how many of the latest; 0: all
 */
export function stretch(model, rounds) {
  const ends = model.rounds;
  const from = rounds && ends.length > rounds ? ends[ends.length - 1 - rounds].virtual_seconds : 0;
  const now = model.status.virtual_seconds;
  const ahead = model.isOver ? 0 : model.roundLength;
  return { from, to: Math.max(now + ahead, from + 1e-3) * 1.005 };
}

/**
 * Draws a client's bars into a strip.
 * @param {CanvasRenderingContext2D} context @param {Model} model @param {number} number
 * @param {{x: number, y: number, width: number, height: number}} box
 * @param {{from: number, to: number}} time
 */
export function drawStrip(context, model, number, box, time) {
  const at = (seconds) => box.x + ((seconds - time.from) / (time.to - time.from)) * box.width;
  const draw = (start, end, kind) => {
    if (end < time.from) return;
    const left = Math.max(at(start), box.x);
    bar(context, left, box.y, Math.max(at(end) - left, 2), box.height, kind);
  };
  const spans = model.spans[number];
  // From the back, since old ones are out of sight.
  let first = spans.length;
  while (first > 0 && spans[first - 1][3] >= time.from) first -= 1;
  for (const [, , start, end, kind, slow] of spans.slice(first)) {
    draw(start, end, kind === "sent" && slow ? "slow" : kind);
  }
  const { selected_at, away_since, progress } = model.clients[number].status;
  if (model.isOver) return;
  if (away_since !== null) draw(away_since, time.to, "away");
  if (selected_at !== null) {
    const length = expected(model, number);
    const done = selected_at + progress * length;
    draw(selected_at, selected_at + length, "working");
    context.globalAlpha = 0.75;
    if (progress > 0) {
      const left = at(selected_at);
      bar(context, left, box.y, Math.max(at(done) - left, 2), box.height, "done");
    }
    context.globalAlpha = 1;
  }
}

/** How long a client's work will take: as long as its last did, or as a round does. */
function expected(model, number) {
  const last = model.spans[number].findLast(([, , , , kind]) => kind === "sent");
  return last ? last[3] - last[2] : model.roundLength;
}

/** One bar. */
export function bar(context, x, y, width, height, kind) {
  const { color: name, style } = KINDS[kind] ?? { color: "working", style: "full" };
  const paint = color(name);
  context.fillStyle = context.strokeStyle = paint;
  context.lineWidth = 1.5;
  context.setLineDash([]);
  const gap = width > 6 ? 1 : 0;
  const [w, h] = [width - gap, height];
  if (style === "open") return outline(context, x, y, w, h, 0.18);
  if (style === "hollow") return outline(context, x, y, w, h, 0.3);
  if (style === "dashed") {
    context.setLineDash([4, 3]);
    outline(context, x, y, w, h, 0.12);
    return context.setLineDash([]);
  }
  if (style === "thin") return context.fillRect(x, y + h / 2 - 1.5, w, 3);
  if (style === "cap") return context.fillRect(x - 2, y - 1, 4, h + 2);
  rounded(context, x, y, w, h);
  context.fill();
  if (style === "hatched") hatch(context, x, y, w, h);
  if (style === "cross" || style === "triangle") mark(context, style, x + w, y + h / 2, Math.min(4, h / 3), w);
}

function rounded(context, x, y, w, h) {
  context.beginPath();
  context.roundRect(x, y, w, h, Math.min(2.5, w / 2));
}

function outline(context, x, y, w, h, filled) {
  rounded(context, x + 0.75, y + 0.75, Math.max(w - 1.5, 0.5), h - 1.5);
  context.globalAlpha = filled;
  context.fill();
  context.globalAlpha = 1;
  context.stroke();
}

function hatch(context, x, y, w, h) {
  context.save();
  rounded(context, x, y, w, h);
  context.clip();
  context.strokeStyle = color("card");
  context.globalAlpha = 0.55;
  context.lineWidth = 1.5;
  context.beginPath();
  for (let i = x - h; i < x + w; i += 6) {
    context.moveTo(i, y + h);
    context.lineTo(i + h, y);
  }
  context.stroke();
  context.restore();
}

/** A sign at a bar's end, in the card's colour where the bar is wide enough to hold it. */
function mark(context, style, end, middle, size, width) {
  if (width < 3 * size) return;
  const x = end - size - 3;
  context.strokeStyle = context.fillStyle = color("card");
  context.lineWidth = 1.75;
  context.beginPath();
  if (style === "cross") {
    context.moveTo(x - size, middle - size);
    context.lineTo(x + size, middle + size);
    context.moveTo(x + size, middle - size);
    context.lineTo(x - size, middle + size);
    context.stroke();
  } else {
    context.moveTo(x, middle - size);
    context.lineTo(x + size, middle + size);
    context.lineTo(x - size, middle + size);
    context.fill();
  }
}

/** Lines at the ends of rounds. */
export function drawRounds(context, model, box, time) {
  const rows = model.rounds.filter((row) => row.virtual_seconds >= time.from);
  const every = Math.ceil(rows.length / (box.width / 14));
  context.fillStyle = color("grid");
  rows.forEach((row, i) => {
    if ((rows.length - 1 - i) % every) return;
    const x = box.x + ((row.virtual_seconds - time.from) / (time.to - time.from)) * box.width;
    context.fillRect(Math.round(x), box.y, 1, box.height);
  });
}

/** The clients' outcomes in each round, as stacked columns. @param {HTMLCanvasElement} canvas */
export function drawOutcomes(canvas, model, time) {
  const { clientWidth: width, clientHeight: height } = canvas;
  if (!width) return;
  const context = sharpen(canvas, width, height);
  const at = (seconds) => ((seconds - time.from) / (time.to - time.from)) * width;
  const parts = ({ outcomes }) => Object.values(outcomes).reduce((sum, n) => sum + n, 0);
  const rows = model.rounds.filter((row) => row.virtual_seconds > time.from);
  const most = rows.reduce((most, row) => Math.max(most, parts(row)), 1);
  let left = 0;
  for (const row of rows) {
    const right = at(row.virtual_seconds);
    let top = height - 3;
    for (const [outcome, name] of OUTCOMES) {
      const share = ((row.outcomes[outcome] ?? 0) / most) * (height - 8);
      context.fillStyle = color(name);
      context.fillRect(left, top - share, Math.max(right - left - 1, 0.8), share);
      top -= share;
    }
    left = right;
  }
}

/** The axis above the bars. @param {HTMLCanvasElement} canvas */
export function drawAxis(canvas, time) {
  const { clientWidth: width, clientHeight: height } = canvas;
  if (!width) return;
  const context = sharpen(canvas, width, height);
  const wanted = ((time.to - time.from) * 80) / width;
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 43200, 86400];
  const step = steps.find((step) => step >= wanted) ?? Math.ceil(wanted / 86400) * 86400;
  context.font = "11.5px system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif";
  context.fillStyle = color("soft");
  for (let at = Math.ceil(time.from / step) * step; at < time.to; at += step) {
    const x = ((at - time.from) / (time.to - time.from)) * width;
    const text = format.tick(at, step);
    if (x + context.measureText(text).width < width) context.fillText(text, x, height - 8);
  }
}
