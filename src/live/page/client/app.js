/** Assembles the page: the stream feeds the model, and views draw what has changed. */

import { Charts } from "./charts.js";
import { ClientView } from "./client.js";
import { onTheme } from "./colors.js";
import { RunControls } from "./control.js";
import { byId } from "./dom.js";
import { showEvents, showRounds } from "./events.js";
import { Fleet } from "./fleet.js";
import { Header } from "./header.js";
import { Hosts } from "./hosts.js";
import { Model } from "./model.js";
import { follow } from "./stream.js";
import { Texts } from "./texts.js";

const model = new Model();
const header = new Header();
const charts = new Charts();
const controls = new RunControls(model);
const client = new ClientView(model);
const texts = new Texts(model);
const hosts = new Hosts(model);
const fleet = new Fleet(model, () => draw(["points"]));
let line = "connecting";

/** The client that the address names; -1: none. */
const chosen = () => {
  const number = Number(/^#\/client\/(\d+)$/.exec(location.hash)?.[1] ?? -1);
  return number < model.clients.length ? number : -1;
};

/**
 * A step of drawing, behind the parts of the model that it looks at.
 * @typedef {[looksAt: string[], step: () => void]} Step
 */

/** @type {Step[]} */
const OVERVIEW = [
  [["points", "rounds"], () => charts.showLoss(model, fleet.pins)],
  [["rounds"], () => charts.showRounds(model)],
  [["texts", "rounds"], () => { texts.show(); }],
  [["clients", "spans", "rounds", "status"], () => fleet.show()],
  [["hosts", "clients", "status"], () => hosts.show()],
  [["lines"], () => showEvents(model)],
  [["rounds"], () => showRounds(model)],
];
/** @type {Step[]} */
const CLIENT = [[["points", "rounds", "clients", "spans", "lines"], 
  () => client.number >= 0 && client.show(line === "live")]];
/** @type {Step[]} */
const ALWAYS = [
  [["status", "clients", "hosts"], () => header.show(model)],
  [["status", "clients"], () => controls.show(line === "live")],
];

/** Steps that are to be run, in order. @type {Map<() => void, true>} */
const due = new Map();
let running = false;

/** Runs every step that depends on one of these parts. @param {string[]} parts */
function draw(parts) {
  const steps = [...ALWAYS, ...(client.number < 0 ? OVERVIEW : CLIENT)];
  for (const [looksAt, step] of steps) {
    if (parts.includes("all") || looksAt.some((part) => parts.includes(part))) due.set(step, true);
  }
  run();
}

function run() {
  if (running || !model.ready) return;
  running = true;
  requestAnimationFrame(runNext);
}

/** A new history replaces everything. */
function begin() {
  fleet.reset();
  hosts.reset();
  texts.reset();
  route();
}

/** One step a task, so that the page answers its user in between. */
function runNext() {
  const [step] = due.keys();
  if (!step) {
    running = false;
    return;
  }
  due.delete(step);
  try {
    step();
  } finally {
    setTimeout(runNext);
  }
}

/** Shows the view that the address names. */
function route() {
  if (!model.ready) return;
  const number = chosen();
  const before = client.number;
  byId("overview").hidden = number >= 0;
  byId("client").hidden = number < 0;
  if (number >= 0) client.open(number);
  else client.close();
  if (number !== before) {
    scrollTo(0, 0);
    if (number >= 0) client.name.focus();
  }
  draw(["all"]);
}

const retry = follow({
  history(history) {
    model.replace(history);
    due.clear();
    due.set(begin, true);
    run();
  },
  changes(changes) {
    if (!model.ready) return;
    model.apply(changes);
    draw(Object.keys(changes));
  },
  state(state) {
    line = state;
    header.showLine(state, model, () => retry());
    draw(["status"]);
  },
  isOver: () => model.isOver,
});

byId("only-trouble").addEventListener("change", () => showEvents(model));
addEventListener("hashchange", route);
onTheme(() => draw(["all"]));
// Elapsed time and silence advance while nothing happens.
setInterval(() => {
  if (!model.ready || model.isOver || line !== "live") return;
  header.showWhere(model);
  hosts.show();
}, 1000);

/** For the browser's console, and for checks. */
globalThis.regatta = { model, fleet, line: () => line };
