"use strict";
const byId = (id) => document.getElementById(id);
const filter = byId("filter");
const period = Number(document.body.dataset.reload) * 1000;

function showMatching() {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = [...document.querySelectorAll(".job")];
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
  }
  for (const body of document.querySelectorAll("tbody")) {
    body.hidden = !body.querySelector(".job:not([hidden])");
  }
  const shown = rows.filter((row) => !row.hidden).length;
  say("shown", words.length ? `${shown} of ${rows.length}` : "");
}

function say(id, text) {
  // Only a change: screen readers read it out.
  if (byId(id).textContent !== text) byId(id).textContent = text;
}

function showAge() {
  const seconds = Math.max(0, Date.now() / 1000 - Number(byId("picture").dataset.taken));
  const [unit, length] = [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]]
    .find(([, length]) => seconds >= 2 * length) ?? ["s", 1];
  const age = byId("age");
  if (age) age.textContent = `${Math.floor(seconds / length)}${unit} old`;
  document.body.classList.toggle("old", seconds > 300);
}

async function reload() {
  try {
    const answer = await fetch(location.pathname, {
      cache: "no-store", signal: AbortSignal.timeout(60000),
    });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    say("lost", "");
    say("error", fresh.getElementById("error").textContent);
    say("summary", fresh.getElementById("summary").textContent);
    document.title = fresh.title;
    byId("icon").href = fresh.getElementById("icon").href;
    if (getSelection().isCollapsed) { // else somebody is about to copy it
      const focused = document.activeElement.getAttribute("aria-label");
      byId("picture").replaceWith(document.adoptNode(fresh.getElementById("picture")));
      if (focused) document.querySelector(`[aria-label="${CSS.escape(focused)}"]`)?.focus();
    }
  } catch {
    say("lost", "pushgate ui does not answer: this page is not reloaded any more.");
  }
  showMatching();
  showAge();
  setTimeout(reload, period);
}

filter.addEventListener("input", showMatching);
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== filter) {
    event.preventDefault();
    filter.focus();
  }
});
showMatching();
showAge();
setInterval(showAge, 1000);
if (period) setTimeout(reload, period);
