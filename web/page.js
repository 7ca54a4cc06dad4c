// Extends Gradio in the browser: tab URLs, arrow keys, progress for screen readers, no flicker while the page loads.
// Inlined into the index page before Gradio starts. Requests nothing from any host.
(() => {
  // in ms: time without changes before the page is shown, maximum wait for restored values, maximum total wait
  const PARAM = "tab", QUIET = 80, RESTORE = 300, LONGEST = 2000;
  const root = document.documentElement, began = performance.now();
  const restored = new Set();
  const parameter = () => new URLSearchParams(location.search).get(PARAM);
  const components = window.gradio_config?.components ?? [];
  const slugs = components.filter((c) => c.type === "tabitem" && c.props.elem_id?.startsWith("tab-")).map((c) => c.props.id);

  // The URL selects a tab: set in the config before Gradio renders the first one.
  const tabs = components.find((c) => c.props?.elem_id === "tabs");
  if (tabs && slugs.includes(parameter())) tabs.props.selected = parameter();

  const bar = () => document.querySelector("#tabs [role=tablist]");
  const chosen = () => bar()?.querySelector("[role=tab][aria-selected=true]");
  const choose = (slug) => bar()?.querySelector(`[role=tab][data-tab-id="${slug}"]`)?.click();

  let last = null;
  function follow() {
    const tab = chosen(), slug = tab?.dataset.tabId;
    if (!slug || slug === last) return;
    const first = last === null;
    last = slug;
    if (first || (parameter() ?? slugs[0]) === slug) return; // the URL already names this tab: opened by it, or back in history
    const query = new URLSearchParams(location.search);
    query.set(PARAM, slug);
    history.pushState(null, "", `?${query}${location.hash}`);
  }
  addEventListener("popstate", () => choose(slugs.includes(parameter()) ? parameter() : slugs[0]));

  // Only the selected tab of a tab list is a tab stop; arrow keys move between tabs.
  function rove() {
    for (const tab of document.querySelectorAll("[role=tablist] > [role=tab]")) {
      const index = tab.getAttribute("aria-selected") === "true" ? 0 : -1;
      if (tab.tabIndex !== index) tab.tabIndex = index;
    }
  }
  addEventListener("keydown", (event) => {
    const tab = event.target.closest?.("[role=tablist] > [role=tab]");
    if (!tab || event.ctrlKey || event.altKey || event.metaKey) return;
    const all = [...tab.parentElement.querySelectorAll("[role=tab]:not([disabled])")], here = all.indexOf(tab);
    const to = { ArrowRight: here + 1, ArrowLeft: here - 1 + all.length, Home: 0, End: all.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    all[to % all.length].focus();
    all[to % all.length].click();
  });

  // Announces changes of data-say to screen readers. A persistent live region, since replaced regions are not announced.
  const region = document.createElement("div");
  region.id = "mw-live";
  region.className = "mw-hidden";
  region.setAttribute("role", "status");
  let said = new Set();
  function speak() {
    const now = new Set([...document.querySelectorAll("[data-say]")].map((e) => e.dataset.say));
    const fresh = [...now].filter((words) => !said.has(words));
    said = now;
    if (fresh.length) region.textContent = fresh.join(" ");
  }

  // Accessible names that Gradio lacks; data-alt describes the image in #picture.
  let groups = 0;
  function describe() {
    const words = document.querySelector("[data-alt]")?.dataset.alt;
    for (const image of document.querySelectorAll("#picture img")) {
      if (words && image.alt !== words) image.alt = words;
    }
    // aria-label is not allowed on a div without role
    for (const empty of document.querySelectorAll("div[aria-label]:not([role])")) empty.setAttribute("role", "img");
    // Gradio's sizes use units of 1024, all others on the page 1000; the link keeps its arrow
    for (const link of document.querySelectorAll("a.download-link")) {
      for (const text of link.childNodes) if (/[KMGT]?B\b/.test(text.nodeValue ?? "")) text.nodeValue = "";
      link.setAttribute("aria-label", `Download ${link.download}`);
    }
    // nested buttons: only the outer one stays and handles the click
    for (const inner of document.querySelectorAll("button button.upload-container")) {
      const outer = inner.parentElement.closest("button"), input = inner.querySelector("input[type=file]");
      inner.style.display = "none";
      if (input) outer.onclick = (event) => event.target === input || input.click();
    }
    // a scrollable list would be a tab stop, and closes when it gets the focus
    for (const list of document.querySelectorAll("ul[role=listbox]")) list.tabIndex = -1;
    // radio buttons without a common name are separate tab stops, and arrow keys do not work
    for (const box of document.querySelectorAll("fieldset:has(input[type=radio])")) {
      box.dataset.group ??= `group-${++groups}`;
      for (const radio of box.querySelectorAll("input[type=radio]")) radio.name = box.dataset.group;
    }
    // Gradio has no translation for this key
    for (const button of document.querySelectorAll('[aria-label="common.upload"]')) {
      button.setAttribute("aria-label", "Add files");
      button.title = "Add files";
    }
    // Gradio's title is the value of the choice; use it as the name only if no label has text
    for (const box of document.querySelectorAll("input[title]:not([aria-label])")) {
      if (![...(box.labels ?? [])].some((label) => label.textContent.trim())) box.setAttribute("aria-label", box.title);
    }
  }

  // Scrollable boxes are tab stops, so that arrow keys can scroll them.
  const SCROLLS = ".mw-scroll:not([role]), .mw-values > div, .mw-short:not([role]), .mw-array";
  function reach() {
    for (const box of document.querySelectorAll(SCROLLS)) {
      const more = box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight;
      if (more) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  }

  // The page renders hidden, piece by piece; it is shown once it no longer changes and values are restored.
  let moved = began, stranger = false, drawn = 0;
  // a loaded resource is about to be rendered
  new PerformanceObserver(() => { moved = performance.now(); }).observe({ type: "resource" });
  try { stranger = !localStorage.getItem("model-workbench-visitor"); } catch { /* storage is disabled */ }
  function still() {
    const now = performance.now(), slug = slugs.length ? chosen()?.dataset.tabId : "";
    if (!drawn && (slugs.length ? slug : document.querySelector("main .block"))) drawn = now;
    const back = stranger || restored.has(slug) || (!slugs.length && restored.size) || now - drawn > RESTORE;
    if ((drawn && back && now - moved > QUIET) || now - began > LONGEST) root.classList.remove("mw-drawing");
    else setTimeout(still, QUIET / 4);
  }
  root.classList.add("mw-drawing");

  window.workbench = {
    settled(slug) { restored.add(slug); },
    form: (slug, kept, names, values) =>
      restored.has(slug) ? Object.fromEntries(names.map((name, k) => [name, values[k]])) : kept,
  };

  let due = false;
  function look() {
    due = false;
    follow();
    rove();
    speak();
    describe();
    reach();
  }
  function soon() {
    if (due) return;
    due = true;
    requestAnimationFrame(look);
  }
  addEventListener("DOMContentLoaded", () => {
    document.body.append(region);
    const watch = { subtree: true, childList: true, attributes: true };
    new MutationObserver(() => {
      moved = performance.now();
      soon();
    }).observe(document.body, { ...watch, attributeFilter: ["aria-selected", "data-say", "data-alt", "src"] });
    addEventListener("resize", soon);
    addEventListener("toggle", soon, true); // of <details>: the event does not bubble
    still();
  });
})();
