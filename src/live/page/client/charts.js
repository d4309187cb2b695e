/** The charts of the whole run. */

import { Chart } from "./chart.js";
import { color, seriesColor } from "./colors.js";
import { byId, say } from "./dom.js";
import * as format from "./format.js";

/** @typedef {import("./model.js").Model} Model @typedef {import("./chart.js").Picture} Picture */

const WAIT = "After the first round";

/**
 * Loss curves of clients on one x axis, and the fleet's.
 * @param {Model} model @param {Map<number, number>} pins clients to draw, with their colours
 * @returns {Picture}
 */
export function lossPicture(model, pins) {
  const own = [...pins].filter(([number]) => model.clients[number]?.points.length);
  const rounds = model.rounds;
  const x = rounds.map((row) => row.round);
  /** @type {any[]} */ const tables = [];
  /** @type {any[]} */ const lines = [];
  const bands = [];
  if (!model.isSmall) {
    const five = [4, 3, 2, 1, 0].map((i) => rounds.map((row) => row.losses?.[i] ?? null));
    tables.push([x, ...five]);
    const edge = { color: color("accent"), hidden: true };
    lines.push({ ...edge, label: "most" }, { ...edge, label: "third quartile" },
      { label: "median client", color: color("accent"), width: 2 },
      { ...edge, label: "first quartile" }, { ...edge, label: "least" });
    bands.push({ of: [0, 4], fill: color("band-outer") }, { of: [1, 3], fill: color("band-inner") });
  }
  for (const [number, slot] of own) {
    const { name, points } = model.clients[number];
    tables.push([points.map((point) => point[0]), points.map((point) => point[1])]);
    lines.push({ label: name, color: seriesColor(slot), points: false });
  }
  if (model.isSmall) {
    tables.push([x, rounds.map((row) => row.train_loss ?? null)]);
    lines.push({ label: "mean", color: color("ink"), width: 1.25, dash: [4, 4] });
  }
  const data = tables.length === 1 ? tables[0] : globalThis.uPlot.join(tables);
  return { lines, data, bands, format: format.loss, ticks: format.short };
}

/**
 * A score by round, and dashed that of the model before training.
 * @param {Model} model @param {string} name
 * @returns {Picture}
 */
export function scorePicture(model, name) {
  const rows = model.rounds.filter((row) => row.eval?.[name] !== undefined);
  const values = (score) => rows.map((row) => row.eval[score] ?? null);
  const [own, base] = [values(name), values(`base_${name}`)];
  const all = [...own, ...base].filter((value) => value !== null);
  const least = Math.min(...all);
  // Only what falls from far above is squeezed by a linear axis.
  const log = model.metric(name)?.higher_is_better === false && least > 0 && Math.max(...all) >= 100 * least;
  return {
    data: [rows.map((row) => row.round), own, base], log,
    lines: [
      { label: "trained", color: seriesColor(2), width: 2, points: rows.length < 40 },
      { label: "base", color: color("soft"), width: 1.25, dash: [4, 4] },
    ],
    format: format.loss, ticks: format.short,
  };
}

export class Charts {
  constructor() {
    this.loss = new Chart(byId("loss-chart"), "Appears when a client trains");
    this.scores = new Chart(byId("scores-chart"), WAIT);
    this.exactness = new Chart(byId("exactness-chart"), WAIT);
    this.traffic = new Chart(byId("traffic-chart"), WAIT);
  }

  /** @param {Model} model @param {Map<number, number>} pins */
  showLoss(model, pins) {
    this.loss.show(lossPicture(model, pins));
    const last = model.rounds.at(-1);
    say(byId("loss-note"), model.isSmall ? "of each client, as it trains"
      : "median, quartiles and extremes of a round's clients, and those you choose below");
    const spread = last?.losses;
    this.loss.describe(spread
      ? `Training loss by client. After round ${last.round}: median ${format.loss(spread[2])}, ` +
        `from ${format.loss(spread[0])} to ${format.loss(spread[4])}.`
      : "Training loss by client; no round is finished yet.");
  }

  /** @param {Model} model */
  showRounds(model) {
    this.showScores(model);
    this.showExactness(model);
    this.showTraffic(model);
  }

  /** @param {Model} model */
  showScores(model) {
    if (model.hasBase) return this.showBeside(model, model.scoreNames[0]);
    const rows = model.rounds.filter((row) => row.eval);
    // Of scores the loss is the mean squared error.
    const names = model.scoreNames.includes("mse") ? model.scoreNames : [...model.scoreNames, "loss"];
    const points = rows.length < 40;
    this.scores.show({
      data: [rows.map((row) => row.round), ...names.map((name) => rows.map((row) => row.eval[name] ?? null))],
      lines: names.map((name, i) => ({
        label: model.labelOf(name), points,
        color: name === "loss" ? color("soft") : seriesColor([2, 0, 3, 4][i % 4]),
        dash: name === "loss" ? [4, 4] : undefined, width: name === "loss" ? 1.25 : 2,
      })),
      format: format.loss, ticks: format.short,
    });
    const last = rows.at(-1);
    this.scores.describe(last
      ? `Validation after round ${last.round}: ` +
        names.map((name) => `${model.labelOf(name)} ${format.loss(last.eval[name])}`).join(", ")
      : "Validation; no scores yet.");
  }

  /** The task's own score beside that of the model before training. @param {Model} model @param {string} name */
  showBeside(model, name) {
    const lower = model.metric(name)?.higher_is_better === false ? "; lower is better" : "";
    say(byId("scores-title").lastElementChild, `${model.labelOf(name)}${lower}`);
    this.scores.show(scorePicture(model, name));
    const row = model.rounds.findLast((row) => row.eval?.[name] !== undefined);
    this.scores.describe(`${model.titleOf(name)} on validation after round ${row?.round}: ` +
      `${format.loss(row?.eval[name])}, before training ${format.loss(row?.eval[`base_${name}`])}.`);
  }

  /** @param {Model} model */
  showExactness(model) {
    const rows = model.rounds.filter((row) => row.exactness_error !== null);
    const zero = rows.length > 0 && rows.every((row) => row.exactness_error === 0);
    // Zero has no place on a logarithmic scale.
    const values = rows.map((row) => row.exactness_error || null);
    this.exactness.empty.textContent = zero ? "Exact: 0 in every round" : WAIT;
    this.exactness.show({
      data: zero ? [[]] : [rows.map((row) => row.round), values],
      lines: [{ label: "error", color: seriesColor(6), width: 2, points: rows.length < 40 }],
      format: format.error, log: true,
    });
    this.exactness.describe(`Exactness error; latest ${format.error(rows.at(-1)?.exactness_error)}.`);
  }

  /** @param {Model} model */
  showTraffic(model) {
    const rows = model.rounds;
    this.traffic.show({
      data: [rows.map((r) => r.round), rows.map((r) => r.bytes_down), rows.map((r) => r.bytes_up)],
      lines: [
        { label: "to clients", color: seriesColor(0), width: 2 },
        { label: "from clients", color: seriesColor(1), width: 2 },
      ],
      format: format.bytes, floor: 0,
    });
    const last = rows.at(-1);
    this.traffic.describe(`Traffic: ${format.bytes(last?.bytes_down)} to clients and ` +
      `${format.bytes(last?.bytes_up)} from clients.`);
  }
}
