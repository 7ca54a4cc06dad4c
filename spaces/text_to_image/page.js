// Extends Gradio on the picture page: Enter and Shift+Enter in the prompt, clicks on pictures, and the large view.
// Runs for the stage and for each other part with buttons; code for the whole page only runs for the stage.
element.addEventListener('click', (event) => {
  const found = event.target.closest('[data-pick]');
  if (!found || !element.contains(found) || found.disabled) return;
  const shown = document.querySelector('#picture')?.dataset.name ?? '';
  trigger(found.dataset.pick.startsWith('start:') ? 'start' : 'click', { pick: found.dataset.pick, shown });
});

// marks the thumbnail of the picture in the stage
function mark() {
  const shown = document.querySelector('#picture')?.dataset.name;
  for (const one of document.querySelectorAll('#gallery [data-name]')) {
    if (one.dataset.name === shown) one.setAttribute('aria-current', 'true');
    else one.removeAttribute('aria-current');
  }
}
watch('value', mark);
mark();

if (element.closest('#stage')) {
  window.mwPictures?.abort(); // Gradio may rebuild the tab
  const life = (window.mwPictures = new AbortController());
  const listen = (where, what, act, capture = false) => where.addEventListener(what, act, { capture, signal: life.signal });

  // runs before Gradio's listener, for which Shift+Enter submits and Enter inserts a line break
  for (const kind of ['keydown', 'keypress']) {
    listen(window, kind, (event) => {
      if (event.key !== 'Enter' || !event.target.closest?.('#prompt')) return;
      event.stopPropagation();
      if (event.shiftKey || event.isComposing) return;
      event.preventDefault();
      if (kind === 'keydown' && !event.repeat) document.querySelector('#generate')?.click();
    }, true);
  }

  document.querySelector('dialog.mw-viewer')?.remove();
  const viewer = document.createElement('dialog');
  viewer.className = 'mw-viewer';
  viewer.setAttribute('aria-label', 'Picture in large');
  viewer.innerHTML = `<figure><img alt=""><figcaption></figcaption></figure>
    <button type="button" class="mw-tool" data-step="-1" aria-label="Newer picture">‹</button>
    <button type="button" class="mw-tool" data-step="1" aria-label="Older picture">›</button>
    <div class="mw-tools"><a class="mw-tool">Download PNG</a><button type="button" class="mw-tool" data-drop>Delete</button>
    <button type="button" class="mw-tool" data-close>Close</button></div>`;
  document.body.append(viewer);
  const [image, words, link] = ['img', 'figcaption', 'a'].map((name) => viewer.querySelector(name));
  const all = () => [...document.querySelectorAll('#gallery [data-name]')];
  let name = '';
  let place = 0;

  function draw() {
    const found = all();
    const there = found.findIndex((one) => one.dataset.name === name);
    place = there >= 0 ? there : Math.min(place, found.length - 1); // if deleted, the next one is shown
    const one = found[place];
    if (!one) return viewer.close();
    name = one.dataset.name;
    const small = one.querySelector('img');
    image.src = link.href = small.src;
    image.alt = small.alt;
    link.download = one.dataset.file;
    const [width, height] = [small.getAttribute('width'), small.getAttribute('height')].map(Number);
    const room = Math.min((innerWidth - 32) / width, (innerHeight - 150) / height);
    const times = room >= 1 ? Math.floor(room) : room; // integer factor when enlarged
    image.style.width = `${Math.floor(width * times)}px`;
    image.classList.toggle('mw-crisp', times > 1);
    words.textContent = `${place + 1} of ${found.length} · seed ${one.querySelector('.mw-seed').textContent} · ${small.alt}`;
    for (const button of viewer.querySelectorAll('[data-step]')) {
      button.disabled = !found[place + Number(button.dataset.step)];
    }
  }
  function step(by) {
    const one = all()[place + by];
    if (!one) return;
    name = one.dataset.name;
    draw();
  }
  listen(document, 'click', (event) => {
    if (!event.target.closest?.('#picture [data-open]')) return;
    name = document.querySelector('#picture').dataset.name;
    draw();
    if (name) viewer.showModal();
  });
  listen(viewer, 'click', (event) => {
    const found = event.target.closest('button');
    if (found?.dataset.step) step(Number(found.dataset.step));
    if (found?.dataset.drop !== undefined) trigger('click', { pick: `drop:${name}`, shown: name });
    if (found?.dataset.close !== undefined || event.target === viewer) viewer.close();
  });
  listen(viewer, 'keydown', (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by) step(by);
  });
  listen(viewer, 'close', () => {
    // the stage shows the picture viewed last
    if (name && name !== document.querySelector('#picture')?.dataset.name) {
      if (all().some((one) => one.dataset.name === name)) trigger('click', { pick: `show:${name}`, shown: name });
    }
    document.querySelector('#picture [data-open]')?.focus();
  });
  const gallery = document.querySelector('#gallery');
  if (gallery) {
    const changes = new MutationObserver(() => viewer.open && draw());
    changes.observe(gallery, { subtree: true, childList: true, attributeFilter: ['data-name'] });
    life.signal.addEventListener('abort', () => changes.disconnect());
  }
}
