/** The connection to the run: one stream, reconnected whenever it breaks. */

const LONGEST_WAIT = 8000;

/**
 * Follows the run.
 * @param {{history: (h: any) => void, changes: (c: any) => void,
 *   state: (state: "connecting"|"live"|"lost"|"gone") => void, isOver: () => boolean}} page
 * @returns {() => void} reconnects at once
 */
export function follow(page) {
  let tries = 0;
  let timer = 0;
  /** @type {EventSource|null} */
  let source = null;

  const connect = () => {
    clearTimeout(timer);
    source?.close();
    page.state(tries ? "lost" : "connecting");
    source = new EventSource("api/events");
    source.addEventListener("history", (event) => {
      tries = 0;
      page.history(JSON.parse(event.data));
      page.state("live");
    });
    source.addEventListener("changes", (event) => page.changes(JSON.parse(event.data)));
    source.addEventListener("error", () => {
      source?.close();
      // A run that is over and gone does not come back; asking for it would only fill the console.
      if (page.isOver()) return page.state("gone");
      tries += 1;
      page.state("lost");
      timer = setTimeout(connect, Math.min(LONGEST_WAIT, 500 * 2 ** tries));
    });
  };

  connect();
  return () => {
    tries = 0;
    connect();
  };
}
