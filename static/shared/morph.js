// Brings a part of the page to a new state with as little change as possible, so that focus, selection and hover survive news.

function sameKind(old, fresh) {
  return old.nodeType === fresh.nodeType && old.nodeName === fresh.nodeName && old.dataset?.key === fresh.dataset?.key;
}

function attributes(old, fresh) {
  for (const name of old.getAttributeNames()) {
    if (!fresh.hasAttribute(name) && name !== "aria-expanded") {      // its menu is open
      old.removeAttribute(name);
    }
  }
  for (const name of fresh.getAttributeNames()) {
    if (old.getAttribute(name) !== fresh.getAttribute(name)) {
      old.setAttribute(name, fresh.getAttribute(name));
    }
  }
}

/**
 * Make `old` look like `fresh`. Elements of the same name at the same place stay and keep their listeners, unless their
 * data-key differs: give one to what has a listener that belongs to its place. An open <details> stays open.
 */
export function morph(old, fresh) {
  if (old.isEqualNode(fresh)) {
    return;
  }
  if (old.nodeName === "DETAILS") {
    fresh.open = old.open;
  }
  attributes(old, fresh);
  morphChildren(old, [...fresh.childNodes]);
}

/** Make the children of `parent` look like `wanted` (nodes). */
export function morphChildren(parent, wanted) {
  const present = [...parent.childNodes];
  wanted.forEach((fresh, at) => {
    const old = present[at];
    if (!old) {
      parent.append(fresh);
    } else if (!sameKind(old, fresh)) {
      old.replaceWith(fresh);
    } else if (old.nodeType === 1) {
      morph(old, fresh);
    } else if (old.data !== fresh.data) {
      old.data = fresh.data;
    }
  });
  present.slice(wanted.length).forEach((old) => old.remove());
}
