/**
 * Cards with texts that the model wrote: what it writes after a round, what it wrote before
 * training, and the references. A round's texts are asked for when they are to be shown.
 */

import { Chart } from "./chart.js";
import { scorePicture } from "./charts.js";
import { byId, make, say } from "./dom.js";
import * as format from "./format.js";

/**
 * @typedef {import("./model.js").Model} Model
 * @typedef {{prompt: string, parts: [string, string][], text: string, references: string[]}} Text
 * @typedef {{round: number, split: string, texts: Text[]}} Sample as `src/runs/samples.rs` has it
 */

/** Cards that are shown at first. */
const FIRST = 6;
/** Rounds whose texts are kept. */
const MOST_SAMPLES = 50;

export class Texts {
  /** @param {Model} model */
  constructor(model) {
    this.model = model;
    /** The round that is shown; `null`: always the newest. @type {number|null} */ this.chosen = null;
    /** @type {Map<number, Promise<Sample>>} */ this.samples = new Map();
    /** @type {Map<string, Chart>} */ this.charts = new Map();
    /** @type {any[]} */ this.cards = [];
    this.all = false;
    byId("texts-round").addEventListener("change", (event) => this.choose(Number(event.target.value)));
    byId("texts-earlier").addEventListener("click", () => this.step(-1));
    byId("texts-later").addEventListener("click", () => this.step(1));
    byId("texts-more").addEventListener("click", () => { this.all = true; this.show(); });
  }

  /** After another history: what was asked for may be of another run. */
  reset() {
    this.samples.clear();
    if (!this.model.texts.includes(this.chosen)) this.chosen = null;
  }

  get newest() {
    return this.model.texts.at(-1);
  }

  get round() {
    return this.chosen ?? this.newest;
  }

  /** @param {number} round */
  choose(round) {
    this.chosen = round === this.newest ? null : round;
    this.show();
  }

  step(by) {
    const { texts } = this.model;
    const round = texts[texts.indexOf(this.round) + by];
    if (round !== undefined) this.choose(round);
  }

  show() {
    const { texts } = this.model;
    byId("texts").hidden = !texts.length;
    if (!texts.length) return;
    this.showRounds();
    this.showScores();
    return this.load();
  }

  /** The rounds to choose from, and where among them this one is. */
  showRounds() {
    const { texts } = this.model;
    const select = byId("texts-round");
    const known = select.options.length;
    const same = known <= texts.length && Number(select.options[known - 1]?.value) === texts[known - 1];
    if (!same) select.replaceChildren();
    for (const round of texts.slice(select.options.length)) {
      select.append(make("option", { value: String(round), textContent: named(round) }));
    }
    select.value = String(this.round);
    byId("texts-earlier").disabled = this.round === texts[0];
    byId("texts-later").disabled = this.round === this.newest;
  }

  /** A chart for each score of the texts. */
  showScores() {
    const { model } = this;
    const names = model.scoreNames.slice(1);
    for (const name of names) {
      if (!this.charts.has(name)) {
        const host = make("div", { className: "chart" });
        byId("texts-scores").append(make("div", {}, make("h3", { textContent: model.titleOf(name) }), host));
        this.charts.set(name, new Chart(host, "After the first texts"));
      }
      const chart = this.charts.get(name);
      chart.show(scorePicture(model, name));
      const row = model.rounds.findLast((row) => row.eval?.[name] !== undefined);
      chart.describe(`${model.titleOf(name)} ${format.loss(row?.eval[name])}, ` +
        `before training ${format.loss(row?.eval[`base_${name}`])}.`);
    }
    const without = names.includes("bleu") && !names.includes("meteor");
    say(byId("texts-meteor"), without ? "METEOR: not computed; --meteor_jar names its program." : "");
  }

  /** Asks for what is to be shown, and shows it unless another round was chosen meanwhile. */
  async load() {
    const { round, model } = this;
    try {
      const shown = await this.sample(round);
      let base = await this.sample(model.texts[0]);
      if (base.texts.length < shown.texts.length) {
        // Those before training were written for fewer prompts when they were asked for.
        this.samples.delete(base.round);
        base = await this.sample(base.round);
      }
      if (round === this.round) this.showCards(shown, base);
    } catch {
      if (round === this.round) {
        say(byId("texts-status"), `The texts of round ${round} cannot be loaded now. ` +
          "They are in the run's folder, and in the page of regatta report.");
      }
    }
  }

  /** @param {number} round @returns {Promise<Sample>} */
  sample(round) {
    let sample = this.samples.get(round);
    if (!sample) {
      sample = ask(round);
      sample.catch(() => this.samples.delete(round));
      this.samples.set(round, sample);
      // The oldest of those that were asked for, but not the one that all are compared with.
      const old = [...this.samples.keys()].find((kept) => kept !== this.model.texts[0]);
      if (this.samples.size > MOST_SAMPLES) this.samples.delete(old);
    }
    return sample;
  }

  /** @param {Sample} shown @param {Sample} base */
  showCards(shown, base) {
    const before = new Map(base.texts.map((text) => [text.prompt, text.text]));
    const texts = this.all ? shown.texts : shown.texts.slice(0, FIRST);
    texts.forEach((text, i) => {
      if (this.cards[i]?.prompt !== text.prompt) this.cards[i] = makeCard(text);
      const { newest, label, first } = this.cards[i].places;
      say(label, named(shown.round));
      write(newest, text.text);
      first.parentElement.hidden = shown.round === base.round;
      write(first, before.get(text.prompt) ?? format.DASH);
    });
    this.cards.length = texts.length;
    const host = byId("texts-cards");
    const same = host.children.length === this.cards.length && this.cards.every((card, i) => host.children[i] === card);
    if (!same) host.replaceChildren(...this.cards);
    byId("texts-more").hidden = texts.length === shown.texts.length;
    say(byId("texts-more"), `Show ${shown.texts.length} prompts`);
    say(byId("texts-status"), "");
    say(byId("texts-note"), `for the first prompts of the ${shown.split} split`);
  }
}

/** @param {number} round */
const named = (round) => (round === 0 ? "Before training" : `Round ${round}`);

/** @param {number} round @returns {Promise<Sample>} */
async function ask(round) {
  const answer = await fetch(`api/texts/${round}`);
  if (!answer.ok) throw new Error(`${answer.status}`);
  return answer.json();
}

/** A card with places for what changes. @param {Text} text */
function makeCard(text) {
  const part = ([name, value]) => make("div", {}, make("dt", { textContent: name }), make("dd", { textContent: value }));
  const prompt = text.parts.length
    ? make("dl", { className: "parts" }, ...text.parts.map(part))
    : make("p", { className: "prompt", textContent: text.prompt });
  const label = make("dt");
  const newest = make("dd");
  const first = make("dd");
  const card = make("article", {}, prompt, make("dl", { className: "written" },
    make("div", {}, label, newest),
    make("div", { className: "before" }, make("dt", { textContent: named(0) }), first)));
  if (text.references.length) {
    const references = text.references.map((reference) => make("li", { textContent: reference }));
    card.append(make("details", {},
      make("summary", { textContent: format.count(references.length, "reference") }), make("ul", {}, ...references)));
  }
  return Object.assign(card, { prompt: text.prompt, places: { label, newest, first } });
}

/** A text that a model wrote, which may be none. @param {HTMLElement} element @param {string} text */
function write(element, text) {
  say(element, text || "nothing");
  element.classList.toggle("none", !text);
}
