// Put into a page before its own scripts: what it asks of the server and is told, and what can be
// opened and pressed on it. Found by role, whatever the page is made of.
window.net = (() => {
  const waiting = new Set(); // events of the queue that are under way
  const early = new Set(); // those that ended before their number was known
  const net = { asked: 0, changed: performance.now(), messages: [], sent: [], pressed: new WeakSet() };
  const touch = () => (net.changed = performance.now());
  const read = async (stream) => {
    const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines.filter((each) => each.startsWith("data:"))) {
        const message = JSON.parse(line.slice(5));
        if (message.msg !== "process_completed") continue;
        if (!waiting.delete(message.event_id)) early.add(message.event_id);
        touch();
      }
    }
  };
  const original = window.fetch;
  window.fetch = async (...request) => {
    const url = `${request[0].url ?? request[0]}`;
    const isLong = url.includes("/queue/data") || url.includes("/heartbeat");
    net.asked += isLong ? 0 : 1;
    touch();
    try {
      const response = await original(...request);
      if (url.includes("/queue/data")) {
        read(response.clone().body).catch(() => {}); // the page lets go of its streams
      } else if (url.includes("/queue/join") && response.ok) {
        net.sent.push(JSON.parse(request[1].body));
        const { event_id: id } = await response.clone().json();
        if (!early.delete(id)) waiting.add(id);
      }
      return response;
    } finally {
      net.asked -= isLong ? 0 : 1;
      touch();
    }
  };
  net.isIdle = () => !net.asked && !waiting.size && performance.now() - net.changed > 200;

  const ALERTS = '[data-testid="toast-body"], [role="alert"], [role="alertdialog"]';
  const isSeen = (element) => element.checkVisibility({ visibilityProperty: true });
  new MutationObserver((changes) => {
    const boxes = new Set();
    for (const { target, addedNodes } of changes) {
      const around = (target.closest ? target : target.parentElement)?.closest(ALERTS);
      if (around) boxes.add(around);
      for (const node of addedNodes) {
        if (node.matches?.(ALERTS)) boxes.add(node);
        node.querySelectorAll?.(ALERTS).forEach((each) => boxes.add(each));
      }
    }
    for (const box of boxes) {
      const words = box.textContent.trim();
      if (words && isSeen(box) && net.messages.at(-1) !== words) net.messages.push(words);
    }
  }).observe(document, { childList: true, subtree: true, characterData: true });

  const depth = (element) => {
    let count = 0;
    while ((element = element.parentElement?.closest('[role="tabpanel"]'))) count += 1;
    return count;
  };
  // The tabs in sight that lie in so many panels of other tabs.
  net.tabs = (panels) =>
    [...document.querySelectorAll('[role="tab"]')].filter(
      (tab) => isSeen(tab) && !tab.disabled && depth(tab) === panels);

  const FOLDED = "details:not([open]) > summary, [aria-expanded=false], button.label-wrap:not(.open)";
  const FOLDS = "summary, [aria-expanded], button.label-wrap";
  net.unfold = () => {
    const folded = [...document.querySelectorAll(FOLDED)].filter(
      (each) => isSeen(each) && !each.closest("footer, [role=combobox], [role=listbox]")
        && !each.matches("input, [role=combobox]"));
    folded.forEach((each) => each.click());
    return folded.length;
  };

  const nameOf = (button) =>
    (button.getAttribute("aria-label") || button.textContent || button.title).trim();
  // One that has not been pressed yet: a name once in a place, and few of a long row, as of tokens.
  net.next = (place, limit) => {
    const run = document.getElementById("run");
    const counts = (net.counts ??= new Map());
    for (const button of document.querySelectorAll("button, [role=button]")) {
      const follows = run.compareDocumentPosition(button) & Node.DOCUMENT_POSITION_FOLLOWING;
      if (!follows || !isSeen(button) || button.disabled || net.pressed.has(button)) continue;
      if (button.matches(`[role=tab], ${FOLDS}`) || button.closest("footer, [role=alert]")) continue;
      net.pressed.add(button);
      const name = nameOf(button);
      const row = button.closest("table, ul, ol, fieldset, [role=group]") ?? button.parentElement;
      const own = `${place}: ${name}`;
      if (counts.has(own) || (counts.get(row) ?? 0) >= limit) continue;
      counts.set(own, 1);
      counts.set(row, (counts.get(row) ?? 0) + 1);
      button.click();
      return name;
    }
    return null;
  };
  return net;
})();
