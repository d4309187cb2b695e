/** Commands to the run, if it accepts any. */

import { byId, toast } from "./dom.js";

/** @typedef {import("./model.js").Model} Model */

const KEY = "regatta-token";

/**
 * Sends a command.
 * @param {Model} model @param {{command: string, client?: number, factor?: number}} ask
 */
export async function send(model, ask) {
  const wanted = model.facts.steering === "token";
  const token = wanted ? sessionStorage.getItem(KEY) || (await askToken()) : "";
  if (wanted && !token) return;
  const headers = { "content-type": "application/json", ...(wanted && { "x-regatta-token": token }) };
  try {
    const answer = await fetch("api/control", { method: "POST", headers, body: JSON.stringify(ask) });
    const reply = await answer.json();
    if (answer.status === 401) sessionStorage.removeItem(KEY);
    toast(reply.error ? `Not done: ${reply.error}` : "Done. It takes effect after this round.");
  } catch {
    toast("Not done: the run does not respond.");
  }
}

/** Asks the user for the token and keeps it for this tab. @returns {Promise<string>} */
function askToken() {
  const dialog = byId("token-dialog");
  const input = byId("token");
  input.value = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const token = dialog.returnValue === "ok" ? input.value : "";
      if (token) sessionStorage.setItem(KEY, token);
      resolve(token);
    }, { once: true });
  });
}

/** The buttons that concern the whole run. */
export class RunControls {
  /** @param {Model} model */
  constructor(model) {
    this.model = model;
    byId("pause").addEventListener("click", () => send(model, { command: "pause" }));
    byId("resume").addEventListener("click", () => send(model, { command: "resume" }));
  }

  /** @param {boolean} live */
  show(live) {
    const { facts, status, isOver } = this.model;
    byId("run-controls").hidden = facts.steering === "off" || isOver || !live;
    byId("pause").hidden = status.phase === "paused";
    byId("resume").hidden = status.phase !== "paused";
  }
}
