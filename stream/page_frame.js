// Drawing on demand: work is done in the next frame that the browser shows, once, and only if there
// is any. A hidden tab asks for no frame; what is due there is done when it is looked at again.

const due = new Set();
let isAsked = false;

/** Call something once before the next frame, however often this is said until then. */
export function soon(work) {
  due.add(work);
  ask();
}

function ask() {
  if (isAsked || document.hidden || !due.size) return;
  isAsked = true;
  requestAnimationFrame(() => {
    isAsked = false;
    const now = [...due];
    due.clear();
    for (const one of now) one();
  });
}

document.addEventListener("visibilitychange", ask);
