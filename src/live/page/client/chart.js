/**
 * A chart in the page's style: uPlot (a separate script, before the modules) with a theme, a size
 * that follows its box, and a summary.
 */

import { color, onTheme } from "./colors.js";
import { make } from "./dom.js";

/**
 * The content of a chart.
 * @typedef {{label: string, color: string, width?: number, dash?: number[], points?: boolean,
 *   hidden?: boolean}} Line `hidden`: it bounds a band and has no entry in the legend
 * @typedef {{lines: Line[], data: (number|null)[][], bands?: {of: [number, number], fill: string}[],
 *   format: (value: number) => string, ticks?: (value: number) => string, log?: boolean,
 *   floor?: number}} Picture
 *   `data`: x, then each line's values; `of`: the numbers of two lines, the upper one first
 */

const FONT = "12px system-ui, -apple-system, 'Segoe UI', 'Noto Sans', 'DejaVu Sans', sans-serif";

export class Chart {
  /** @param {HTMLElement} host @param {string} empty the text shown before there are data */
  constructor(host, empty) {
    this.host = host;
    this.key = "";
    this.plot = null;
    this.empty = make("p", { className: "empty", textContent: empty });
    host.append(this.empty);
    host.setAttribute("role", "img");
    onTheme(() => { this.key = ""; this.picture && this.show(this.picture); });
    new ResizeObserver(() => this.fit()).observe(host);
  }

  /** Draws; with the same lines as before, only their data change. @param {Picture} picture */
  show(picture) {
    this.picture = picture;
    const has = picture.data[0].length > 0;
    this.empty.hidden = has;
    if (!has || !this.host.clientWidth) return;
    const key = JSON.stringify([picture.lines, picture.log, picture.bands]);
    if (key !== this.key) {
      this.plot?.destroy();
      this.plot = new globalThis.uPlot(this.options(picture), picture.data, this.host);
      this.key = key;
    } else {
      this.plot.setData(picture.data);
    }
    this.showLatest();
  }

  /** A sentence for those who do not see it. @param {string} text */
  describe(text) {
    if (this.host.getAttribute("aria-label") !== text) this.host.setAttribute("aria-label", text);
  }

  /** Has the legend show the latest values while nobody points at others. */
  showLatest() {
    const plot = this.plot;
    if (plot.cursor.idx === null || plot.cursor.left < 0) {
      // The latest value of each line, which may be at different x.
      const latest = plot.data.map((values) => {
        let i = values.length - 1;
        while (i > 0 && values[i] == null) i -= 1;
        return i;
      });
      plot.setLegend({ idxs: latest });
    }
  }

  /** Follows the box. */
  fit() {
    if (!this.plot) return this.picture && this.show(this.picture);
    const { width, height } = this.size(this.picture);
    if (width && (width !== this.plot.width || height !== this.plot.height)) {
      this.plot.setSize({ width, height });
    }
  }

  /** The space that the box leaves beside the legend, which has one line or two. @param {Picture} picture */
  size(picture) {
    const { clientWidth: width, clientHeight } = this.host;
    const shown = picture.lines.filter((line) => !line.hidden);
    // Approximate width of a letter; each entry has a value of some nine letters beside its name.
    const wide = shown.reduce((sum, line) => sum + 30 + 6.6 * (line.label.length + 9), 60);
    const two = wide > width;
    this.host.classList.toggle("two-lines", two);
    return { width, height: clientHeight - (two ? 44 : 24) };
  }

  /** @param {Picture} picture */
  options(picture) {
    const axis = {
      stroke: color("soft"), font: FONT, grid: { stroke: color("grid"), width: 1 },
      ticks: { show: false }, gap: 4,
    };
    const write = picture.ticks ?? picture.format;
    return {
      ...this.size(picture), padding: [8, 8, 0, 0],
      scales: {
        x: { time: false, range: (_, low, high) => [low, Math.max(high, low + 1)] },
        y: picture.log ? { distr: 3 } : { range: spread(picture.floor) },
      },
      axes: [
        { ...axis, size: 24, space: 50, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4],
          values: (_, ticks) => ticks.map(String) },
        { ...axis, size: (_, values) => width_of(values), space: 28,
          values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : write(tick))) },
      ],
      series: [
        { label: "round", value: (_, x) => (x == null ? "" : String(+x.toFixed(1))) },
        ...picture.lines.map((line) => series(line, picture.format)),
      ],
      bands: (picture.bands ?? []).map(({ of, fill }) => ({ series: of.map((i) => i + 1), fill })),
      cursor: { points: { size: 7 }, y: false, drag: { x: false, y: false } },
      legend: { markers: { width: 0, fill: (u, i) => picture.lines[i - 1]?.color ?? "transparent" } },
      hooks: {
        init: [(u) => hideEntries(u, picture.lines)],
        setCursor: [(u) => { if (u.cursor.left < 0) queueMicrotask(() => this.plot === u && this.showLatest()); }],
      },
    };
  }
}

/** @param {Line} line @param {(value: number) => string} format */
function series(line, format) {
  const points = line.points
    ? { show: true, size: 6, fill: line.color, stroke: line.color }
    : { show: (u, i) => u.data[i].filter((v) => v != null).length === 1, size: 6, fill: line.color };
  return {
    label: line.label, stroke: line.hidden ? "transparent" : line.color, width: line.width ?? 1.75,
    dash: line.dash, spanGaps: true, points: line.hidden ? { show: false } : points,
    value: (_, value) => (value == null ? "–" : format(value)),
  };
}

/** Bounds of bands and the first entry, x, are not lines to read. */
function hideEntries(plot, lines) {
  const entries = plot.root.querySelectorAll(".u-series");
  lines.forEach((line, i) => { if (line.hidden) entries[i + 1].hidden = true; });
}

/** A range with some margin, which does not magnify noise; of zeros alone one that shows them as such. */
const spread = (floor) => (_, low, high) => {
  if (low === null || (low === 0 && high === 0)) return [0, 1];
  const room = Math.max((high - low) * 0.08, Math.abs(high) * 0.01, 1e-9);
  return [floor === undefined ? low - room : Math.min(floor, low), high + room];
};

const width_of = (values) =>
  Math.max(36, ...(values ?? []).map((text) => 14 + 6.8 * String(text).length));
