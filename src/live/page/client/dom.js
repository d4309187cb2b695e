/** Small helpers for the document. Text goes in as text: no name of a client can become markup. */

/**
 * An element with properties and children.
 * @param {string} tag
 * @param {Record<string, any>} [properties] those named `aria-…`, `data-…`, `role` and `for` are attributes
 * @param {...(Node|string)} children
 * @returns {any} an element of that kind
 */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (/^(aria|data)-|^(role|for)$/.test(name)) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

/** The element with this id. @param {string} id @returns {any} */
export const byId = (id) => document.getElementById(id);

/** Sets an element's text if it is another. @param {Element} element @param {string} text */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

let hiding = 0;

/** Shows a short notice for a while. @param {string} text */
export function toast(text) {
  const element = byId("toast");
  element.hidden = false;
  say(element, text);
  clearTimeout(hiding);
  hiding = setTimeout(() => { element.hidden = true; }, 6000);
}

/**
 * A canvas made as sharp as the screen, cleared, with its context in CSS pixels.
 * @param {HTMLCanvasElement} canvas @param {number} width @param {number} height
 */
export function sharpen(canvas, width, height) {
  const scale = devicePixelRatio || 1;
  const [w, h] = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
  }
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}
