/** The theme's colours for canvases, which know no style sheets. */

const dark = matchMedia("(prefers-color-scheme: dark)");
/** @type {Map<string, string>} */
const cache = new Map();
const listeners = new Set();

dark.addEventListener("change", () => {
  cache.clear();
  listeners.forEach((listener) => listener());
});

/** A custom property of the root, such as `ink`. @param {string} name */
export function color(name) {
  let value = cache.get(name);
  if (value === undefined) {
    value = getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
    cache.set(name, value);
  }
  return value;
}

/** A line's colour. @param {number} number */
export const seriesColor = (number) => color(`series-${number % 8}`);

/** The current theme; changes when colours do. */
export const theme = () => (dark.matches ? "dark" : "light");

/** Calls back when the theme changes. @param {() => void} listener */
export const onTheme = (listener) => listeners.add(listener);
