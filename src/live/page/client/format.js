/** Numbers formatted for people. */

export const DASH = "–";

/** @param {number|null|undefined} value */
const known = (value) => value !== null && value !== undefined && Number.isFinite(value);

/** A loss or a score; `null` stands for one that is not a number. @param {number|null|undefined} value */
export const loss = (value) => (known(value) ? score(value) : value === null ? "NaN" : DASH);

/** Four digits after the point, and fewer of a large number. @param {number} value */
function score(value) {
  const size = Math.abs(value);
  if (size >= 1e6) return value.toExponential(1).replace("+", "");
  return value.toFixed(size < 10 ? 4 : size < 100 ? 3 : size < 1e4 ? 1 : 0);
}

/** The same on an axis, without zeros at its end. @param {number} value */
export function short(value) {
  const size = Math.abs(value);
  if (size >= 1e5) return value.toExponential().replace("+", "");
  return size > 1e-14 && size < 5e-5 ? value.toExponential(0) : String(+value.toFixed(4));
}

/** An exactness error. @param {number|null|undefined} value */
export const error = (value) =>
  !known(value) ? DASH : value === 0 ? "0" : value.toExponential(1);

/** Bytes in units of 1000. @param {number|null|undefined} bytes */
export function bytes(bytes) {
  if (!known(bytes)) return DASH;
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = bytes < 1000 ? 0 : Math.min(4, Math.floor(Math.log10(bytes) / 3));
  const value = bytes / 1000 ** power;
  return `${power === 0 || value >= 100 ? value.toFixed(0) : value.toFixed(1)} ${units[power]}`;
}

/** Seconds. @param {number|null|undefined} seconds */
export function duration(seconds) {
  if (!known(seconds)) return DASH;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${seconds.toFixed(0)} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min ${pad(seconds % 60)} s`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ${pad((seconds % 3600) / 60)} min`;
  return `${(seconds / 86400).toFixed(1)} days`;
}

/** Seconds, on an axis. @param {number} seconds @param {number} step */
export function tick(seconds, step) {
  if (step >= 86400) return `${seconds / 86400} d`;
  if (step >= 3600) return `${seconds / 3600} h`;
  if (step >= 60) return `${seconds / 60} min`;
  return `${+seconds.toFixed(2)} s`;
}

// Made once, since to make one takes far longer than to use it.
const numbers = new Intl.NumberFormat("en");
const timeOfDay = new Intl.DateTimeFormat([], { timeStyle: "medium", hourCycle: "h23" });

/** Time of day. @param {number|null} unix seconds since 1970 */
export const clock = (unix) => (known(unix) ? timeOfDay.format(unix * 1000) : DASH);

/** A whole number. @param {number} number */
export const whole = (number) => numbers.format(number);

/** A count with its noun. @param {number} number @param {string} what */
export const count = (number, what) => `${whole(number)} ${what}${number === 1 ? "" : "s"}`;

/** Names of scores and states as words. @param {string} name */
export const words = (name) => name.replaceAll("_", " ");

/** With a capital letter. @param {string} text */
export const title = (text) => text.charAt(0).toUpperCase() + words(text.slice(1));

const pad = (number) => String(Math.floor(number)).padStart(2, "0");
