/* Comfort and speed: panels fetched one by one, hover, keyboard, proposals. Without it every page is drawn whole by
   the server. Inserts nothing but what the server has escaped, and text. */
"use strict";

(() => {
  const board = document.getElementById("lb-board");
  const MOST = 3; // panels asked for at the same time
  const waiting = [];
  let running = 0;

  // Panels

  function widthOf(panel) {
    const body = panel.querySelector("[data-lb-body]");
    return Math.max(280, Math.round(body.clientWidth));
  }

  function addressOf(panel) {
    const address = new URL(panel.dataset.lbPanel, window.location.href);
    address.searchParams.set("w", widthOf(panel));
    return address;
  }

  async function ask(panel) {
    const body = panel.querySelector("[data-lb-body]");
    const number = (panel.lbAsked || 0) + 1;
    panel.lbAsked = number;
    panel.setAttribute("aria-busy", "true");
    try { // a poll is not shown as loading: see the style sheet
      const answer = await fetch(addressOf(panel), { headers: { "X-Requested-With": "fetch" } });
      const text = await answer.text();
      if (panel.lbAsked !== number) return; // asked again meanwhile
      if (answer.headers.get("X-Littlebro") === "panel") show(panel, body, text);
      else complain(body, answer.redirected ? "You are not logged in any more." : `The server answered ${answer.status}.`);
    } catch {
      if (panel.lbAsked === number) complain(body, "The server does not answer.");
    } finally {
      if (panel.lbAsked === number) panel.removeAttribute("aria-busy");
    }
  }

  function show(panel, body, text) {
    const open = body.querySelector("details.lb-data[open]") !== null;
    const known = new Set([...body.querySelectorAll("[data-lb-row]")].map((row) => row.dataset.lbRow));
    body.innerHTML = text;
    if (known.size) {
      for (const row of body.querySelectorAll("[data-lb-row]")) {
        if (!known.has(row.dataset.lbRow)) row.classList.add("lb-new");
      }
    }
    if (open) body.querySelector("details.lb-data")?.setAttribute("open", "");
    dress(body);
  }

  function complain(body, text) {
    const box = document.createElement("div");
    box.className = "lb-error";
    box.setAttribute("role", "alert");
    const said = document.createElement("p");
    said.textContent = text;
    const again = document.createElement("button");
    again.type = "button";
    again.textContent = "Try again";
    again.dataset.lbAgain = "";
    const row = document.createElement("p");
    row.append(again);
    box.append(said, row);
    body.replaceChildren(box);
  }

  function queue(panel) {
    if (!waiting.includes(panel)) waiting.push(panel);
    next();
  }

  function next() {
    while (running < MOST && waiting.length) {
      running += 1;
      ask(waiting.shift()).finally(() => { running -= 1; next(); });
    }
  }

  function dress(root) {
    for (const chart of root.querySelectorAll("[data-lb-chart]")) enliven(chart);
    for (const button of root.querySelectorAll("[data-lb-again]")) button.hidden = false;
  }

  // Charts: a row of the table is what is said of a bucket

  function enliven(chart) {
    const columns = [...chart.querySelectorAll(".lb-col")];
    const rows = [...chart.querySelectorAll(".lb-data tbody tr")];
    const heads = [...chart.querySelectorAll(".lb-data thead th")].slice(1);
    const tip = chart.querySelector(".lb-tip");
    const spoken = chart.querySelector("[aria-live]");
    let current = -1;

    for (const title of chart.querySelectorAll(".lb-hit > title")) title.remove(); // the tip says more

    function lines(cells) {
      const found = [];
      heads.forEach((head, number) => {
        if (!("past" in head.dataset) || !found.length) {
          found.push(line(head, cells[number]));
          return;
        }
        const before = document.createElement("span"); // beside what it is compared with
        before.className = "lb-was";
        before.textContent = ` before: ${cells[number].textContent}`;
        found.at(-1).lastChild.append(before);
      });
      return found;
    }

    function line(head, cell) {
      const row = document.createElement("div");
      const name = document.createElement("span");
      const swatch = document.createElement("i");
      swatch.className = `lb-swatch lb-tone-${head.dataset.tone}`;
      name.append(swatch, head.textContent.trim());
      const value = document.createElement("span");
      value.textContent = cell.textContent;
      row.append(name, value);
      return row;
    }

    function point(place, aloud) {
      if (place === current || !rows[place]) return;
      columns[current]?.classList.remove("lb-on");
      current = place;
      columns[place].classList.add("lb-on");
      const title = document.createElement("b");
      title.textContent = rows[place].querySelector("th").textContent.replace(/\s+/g, " ").trim();
      const cells = [...rows[place].querySelectorAll("td")];
      tip.replaceChildren(title, ...lines(cells));
      tip.hidden = false;
      const box = columns[place].querySelector(".lb-hit").getBoundingClientRect();
      const frame = chart.getBoundingClientRect();
      const middle = box.left + box.width / 2 - frame.left;
      const left = middle > frame.width / 2 ? middle - tip.offsetWidth - 12 : middle + 12;
      tip.style.left = `${Math.max(0, Math.min(left, frame.width - tip.offsetWidth))}px`;
      tip.style.top = "8px";
      if (aloud) spoken.textContent = tip.textContent;
    }

    function leave() {
      columns[current]?.classList.remove("lb-on");
      current = -1;
      tip.hidden = true;
    }

    function enter(place) {
      const address = columns[place]?.dataset.href;
      if (address) window.location.assign(address);
    }

    columns.forEach((column, place) => {
      column.addEventListener("pointerenter", () => point(place, false));
      column.addEventListener("click", () => enter(place));
    });
    chart.querySelector("svg")?.addEventListener("pointerleave", leave);
    chart.addEventListener("blur", leave);
    chart.addEventListener("keydown", (event) => {
      if (event.target !== chart) return;
      const last = rows.length - 1;
      const places = { ArrowRight: current + 1, ArrowLeft: current < 0 ? last : current - 1, Home: 0, End: last };
      if (event.key in places) {
        event.preventDefault();
        point(Math.max(0, Math.min(places[event.key], last)), true);
      } else if (event.key === "Enter" && current >= 0) enter(current);
      else if (event.key === "Escape") leave();
    });
  }

  // Proposals, fetched when a form is first used

  const proposals = {};

  async function propose(address) {
    proposals[address] ||= fetch(address).then((answer) => (answer.ok ? answer.json() : {})).catch(() => ({}));
    return proposals[address];
  }

  function fill(list, values) {
    if (!list) return;
    list.replaceChildren(...(values || []).map((value) => {
      const option = document.createElement("option");
      option.value = value;
      return option;
    }));
  }

  async function offer(input) {
    const found = await propose(board.dataset.suggest);
    fill(document.getElementById("lb-names"), found.names);
    fill(document.getElementById("lb-fields"), found.fields);
    if (!input.hasAttribute("data-lb-value")) return;
    const field = input.form.querySelector("[data-lb-field]")?.value;
    if (!field) return;
    const address = new URL(board.dataset.suggest, window.location.href);
    address.searchParams.set("by", field);
    fill(document.getElementById("lb-values"), (await propose(address.href)).values);
  }

  // Fields that matter for some choices only

  function suit(field) {
    const choice = field.closest("form").elements[field.dataset.lbWhen];
    const needed = field.dataset.lbIn.split(" ").includes(choice.value);
    field.hidden = !needed;
    for (const input of field.querySelectorAll("input, select")) input.disabled = !needed;
  }

  for (const root of document.querySelectorAll(".lb-embed")) dress(root);
  if (!board) return;

  // Keyboard

  let going = 0;

  function typing(target) {
    return target.closest("input:not([type=checkbox]), select, textarea, [contenteditable]") !== null;
  }

  function menu(id) {
    const found = document.getElementById(id);
    if (!found) return;
    found.open = true;
    (found.querySelector("input:not([type=hidden]), a") || found.querySelector("summary")).focus();
  }

  function without(...names) {
    const address = new URL(window.location.href);
    for (const name of names) address.searchParams.delete(name);
    return address;
  }

  const keys = {
    "/": () => document.getElementById("lb-find")?.focus(),
    "?": () => document.getElementById("lb-keys").showModal(),
    "f": () => menu("lb-filter"),
    "d": () => menu("lb-range"),
    "v": () => menu("lb-views"),
    "x": () => window.location.assign(without("f", "name", "person", "collection", "cursor")),
    "r": () => document.querySelectorAll("[data-lb-panel]").forEach(queue),
    "c": () => {
      const address = new URL(window.location.href);
      if (address.searchParams.has("compare")) address.searchParams.delete("compare");
      else address.searchParams.set("compare", "previous");
      window.location.assign(address);
    },
    "[": () => document.querySelector('[data-key="["]')?.click(),
    "]": () => document.querySelector('[data-key="]"]')?.click(),
    "g": () => { going = Date.now(); },
  };

  // Who dictates, or hits keys by mistake, can do without them (WCAG 2.1.4).
  const wanted = document.getElementById("lb-keys-on");
  const unwanted = "littlebro-no-keys";
  try {
    wanted.checked = localStorage.getItem(unwanted) === null;
  } catch {
    // A browser that keeps nothing: they are on.
  }
  wanted.addEventListener("change", () => {
    try {
      if (wanted.checked) localStorage.removeItem(unwanted);
      else localStorage.setItem(unwanted, "1");
    } catch {
      // As above: for this page alone.
    }
  });

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      for (const open of board.querySelectorAll("details.lb-menu[open]")) {
        open.open = false;
        open.querySelector("summary").focus();
      }
    }
    if (event.ctrlKey || event.metaKey || event.altKey || !wanted.checked || typing(event.target)) return;
    if (document.querySelector("dialog[open]")) return;
    const link = Date.now() - going < 1500 && board.querySelector(`[data-go="${CSS.escape(event.key)}"]`);
    const action = link ? () => window.location.assign(link.href) : keys[event.key];
    if (!action) return;
    if (event.key !== "g") going = 0;
    event.preventDefault();
    action();
  });

  // Begin

  for (const button of document.querySelectorAll("[data-lb-keys]")) {
    button.hidden = false;
    button.addEventListener("click", keys["?"]);
  }

  board.addEventListener("focusin", (event) => {
    if (event.target.matches("input[list]")) offer(event.target);
  });

  board.addEventListener("click", (event) => {
    const node = event.target.closest(".lb-node[data-href]");
    if (node) window.location.assign(node.dataset.href);
    const again = event.target.closest("[data-lb-again]");
    const reload = event.target.closest("[data-lb-reload]");
    const panel = event.target.closest("[data-lb-panel]");
    if (again && panel) queue(panel);
    if (!reload || !panel || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const asked = new URL(reload.href);
    window.history.replaceState(null, "", asked);
    for (const query of board.querySelectorAll("input[name=query]")) query.value = asked.search.slice(1);
    const address = new URL(panel.dataset.lbPanel, window.location.href);
    address.search = asked.search;
    panel.dataset.lbPanel = address.href;
    queue(panel);
  });

  document.addEventListener("click", (event) => {
    for (const open of document.querySelectorAll("details.lb-menu[open]")) {
      if (!open.contains(event.target)) open.open = false;
    }
  });

  for (const field of board.querySelectorAll("[data-lb-when]")) {
    suit(field);
    field.closest("form").addEventListener("change", () => suit(field));
  }

  board.querySelector(".lb-tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

  const panels = [...board.querySelectorAll("[data-lb-panel]")];
  for (const panel of panels) {
    if (panel.getAttribute("aria-busy") === "true") queue(panel);
    else dress(panel);
    const every = Number(panel.dataset.lbPoll);
    if (!every) continue;
    const pause = panel.querySelector("[data-lb-pause]");
    pause.hidden = false;
    pause.addEventListener("click", () => {
      panel.lbPaused = !panel.lbPaused;
      pause.setAttribute("aria-pressed", String(panel.lbPaused));
      if (!panel.lbPaused) queue(panel);
    });
    setInterval(() => { // never under the hands of somebody who is in there
      const busy = panel.querySelector("[data-lb-body]").contains(document.activeElement);
      if (!document.hidden && !panel.lbPaused && !busy && panel.getAttribute("aria-busy") !== "true") queue(panel);
    }, every);
  }

  let width = board.clientWidth;
  let later = 0;
  window.addEventListener("resize", () => {
    clearTimeout(later);
    later = setTimeout(() => {
      if (Math.abs(board.clientWidth - width) < 24) return;
      width = board.clientWidth;
      for (const panel of panels) if (panel.querySelector("[data-lb-chart], [data-lb-wide]")) queue(panel);
    }, 300);
  });
})();
