// What the pages do not need, and are nicer with: live rows, copying, and a
// download button that is spent once it was used.
"use strict";

const LONGEST = 200;

for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    const text = document.getElementById(button.dataset.copy).textContent;
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
}

for (const form of document.querySelectorAll("form[data-once]")) {
  form.addEventListener("submit", () => {
    const button = form.querySelector("button");
    // The form is sent first; a disabled button would keep it back.
    setTimeout(() => {
      button.disabled = true;
      button.textContent = "Downloaded";
    }, 0);
  });
}

const table = document.getElementById("tokens");
if (table) watch(table);

async function watch(table) {
  const live = document.getElementById("live");
  const rows = table.tBodies[0];
  let after = table.dataset.after;
  live.hidden = false;
  for (;;) {
    try {
      const answer = await fetch(`/tokens/feed?after=${after}`);
      if (answer.status === 401) {
        location.assign("/sign-in");
        return;
      }
      if (!answer.ok) throw new Error(answer.statusText);
      after = answer.headers.get("x-latest");
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const feed = page.getElementById("feed").content;
      document.getElementById("counts").replaceWith(feed.getElementById("counts"));
      const fresh = feed.querySelectorAll("tr");
      for (const row of fresh) row.classList.add("fresh");
      rows.prepend(...fresh);
      while (rows.rows.length > LONGEST) rows.deleteRow(-1);
      document.getElementById("none").hidden = rows.rows.length > 0;
      live.classList.remove("lost");
    } catch {
      live.classList.add("lost");
      await new Promise((resolve) => setTimeout(resolve, 2000));
    }
  }
}
