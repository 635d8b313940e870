// Builds nodes. Text only ever becomes a text node, so nothing that came from another machine can be markup.

const SVG = "http://www.w3.org/2000/svg";
const FIELDS =
  "input:not([type=checkbox], [type=radio], [type=range]), textarea, select, dialog, [role=menu], [contenteditable]";
const PROPERTIES = new Set(["value", "checked", "disabled", "indeterminate", "hidden", "open", "tabIndex",
  "className"]);

function setAttribute(node, name, value) {
  if (name.startsWith("on")) {
    node.addEventListener(name.slice(2), value);
  } else if (name === "data") {
    Object.assign(node.dataset, value);
  } else if (PROPERTIES.has(name)) {
    node[name] = value;
  } else if (value === true) {
    node.setAttribute(name, "");
  } else if (value !== false && value != null) {
    node.setAttribute(name, value);
  }
}

function build(node, classes, attributes, children) {
  if (classes.length) {
    node.setAttribute("class", classes.join(" "));
  }
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === "class") {
      node.setAttribute("class", [...classes, value].filter(Boolean).join(" "));
    } else {
      setAttribute(node, name, value);
    }
  }
  node.append(...nodes(children));
  return node;
}

/**
 * Flatten children: nested arrays, null, undefined and false vanish, everything else but nodes becomes text.
 * @param {any} children @returns {Node[]}
 */
export function nodes(children) {
  return [children].flat(Infinity).filter((child) => child != null && child !== false && child !== true)
    .map((child) => (child instanceof Node ? child : document.createTextNode(String(child))));
}

/**
 * Make an element: h("button.btn.pri", {onclick, title, disabled}, "Compare", icon("dn")).
 * attributes: "on…" adds a listener, "data" fills the dataset, null and false are left out.
 * @param {string} tag @param {Object<string, any>} [attributes] @param {...any} children
 * @returns {any} an element of that name
 */
export function h(tag, attributes, ...children) {
  const [name, ...classes] = tag.split(".");
  return build(document.createElement(name), classes, attributes, children);
}

/** The same for SVG elements. @param {string} tag @param {Object<string, any>} [attributes] @param {...any} children */
export function svg(tag, attributes, ...children) {
  const [name, ...classes] = tag.split(".");
  return build(document.createElementNS(SVG, name), classes, attributes, children);
}

/** One of the drawings in index.html, by name ("running", "x", "gear" …), as decoration: give its control a label. @param {string} name @param {string} [extra] */
export function icon(name, extra) {
  // copied: what <use> builds costs several times as much
  const drawing = document.getElementById(`i-${name}`);
  return svg(`svg.ic.i-${name}`,
    {class: extra, viewBox: drawing.getAttribute("viewBox"), "aria-hidden": "true"},
    [...drawing.children].map((part) => part.cloneNode()));
}

/** Replace all children of `node`; returns the node. @template {Element} N @param {N} node @param {...any} children @returns {N} */
export function fill(node, ...children) {
  node.replaceChildren(...nodes(children));
  return node;
}

/** Make `wanted` the children of `node`; those that stay where they are keep their focus and cost no layout. @param {Element} node @param {Element[]} wanted */
export function place(node, wanted) {
  const keep = new Set(wanted);
  [...node.children].forEach((child) => keep.has(child) || child.remove());
  let at = node.firstElementChild;
  for (const child of wanted) {
    if (child === at) {
      at = at.nextElementSibling;
    } else {
      node.insertBefore(child, at);
    }
  }
}

const CONTROLS = new Set(["BUTTON", "A", "INPUT", "TEXTAREA", "SELECT", "FORM"]);

function alike(old, fresh) {
  return old.nodeName === fresh.nodeName && old.dataset?.key === fresh.dataset?.key;
}

/** A control that changed has listeners that belong to what it is now; the focus goes over to it. */
function exchange(old, fresh) {
  const focused = old === document.activeElement;
  old.replaceWith(fresh);
  if (focused) {
    fresh.focus({preventScroll: true});
  }
}

function patchAttributes(old, fresh) {
  old.getAttributeNames().filter((name) => !fresh.hasAttribute(name))
    .forEach((name) => old.removeAttribute(name));
  fresh.getAttributeNames().filter((name) => old.getAttribute(name) !== fresh.getAttribute(name))
    .forEach((name) => old.setAttribute(name, fresh.getAttribute(name)));
}

function patch(old, fresh) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) {
      old.data = fresh.data;
    }
    return;
  }
  if (old.hasAttribute("aria-expanded") && !fresh.hasAttribute("aria-expanded")) {
    // its menu is or was open: widgets.popover says so
    fresh.setAttribute("aria-expanded", old.getAttribute("aria-expanded"));
  }
  if (old.nodeName === "DETAILS") {
    fresh.open = old.open;
  }
  if (old.isEqualNode(fresh)) {
    return;
  }
  if (CONTROLS.has(old.nodeName)) {
    exchange(old, fresh);
  } else {
    patchAttributes(old, fresh);
    patchChildren(old, [...fresh.childNodes]);
  }
}

function patchChildren(node, wanted) {
  const present = [...node.childNodes];
  wanted.forEach((fresh, at) => {
    const old = present[at];
    if (!old) {
      node.append(fresh);
    } else if (alike(old, fresh)) {
      patch(old, fresh);
    } else {
      old.replaceWith(fresh);
    }
  });
  present.slice(wanted.length).forEach((old) => old.remove());
}

/**
 * Like fill(), but what already looks as wanted stays where it is: focus, selection, hover, a click under
 * way, an open menu and an open <details> survive news. What stays keeps its first listeners, so listeners
 * look up what they need when they are called; a control that looks otherwise now is replaced, and so is what
 * has another data-key: give one to what stands for a thing in a list.
 * @template {Element} N @param {N} node @param {...any} children @returns {N}
 */
export function renew(node, ...children) {
  patchChildren(node, nodes(children));
  return node;
}

/** Set the text only where it differs, so that a selection in unchanged text survives. @param {Node} node @param {any} value */
export function text(node, value) {
  const wanted = String(value);
  const only = node.firstChild;
  if (only instanceof Text && !only.nextSibling) {
    if (only.data !== wanted) {
      only.data = wanted;
    }
  } else if (node.textContent !== wanted) {
    node.textContent = wanted;
  }
  return node;
}

/**
 * Words of the user's own (names, tags, log lines): kept apart from the direction and the language of the
 * page.
 */
export function own(value, attributes) {
  return h("bdi", {dir: "auto", translate: "no", ...attributes}, value);
}

/** Say something to a screen reader without moving the focus. */
export function announce(message) {
  const place = document.getElementById("live");
  if (place) {
    place.textContent = message;
  }
}

let family = "";

/**
 * The page's fonts, for a canvas. They never change: asking for them again would make the browser work out
 * all styles.
 */
export function fontFamily() {
  family ||= getComputedStyle(document.body).fontFamily;
  return family;
}

/**
 * The present colours of custom properties ("c1", "ink", "line"), resolved for a canvas: {name: "rgb(…)"}.
 * They change with the theme.
 */
export function colours(names) {
  const probes = names.map(() => h("i"));
  probes.forEach((probe, at) => { probe.style.color = `var(--${names[at]})`; });
  const place = document.body.appendChild(h("div", {hidden: true}, probes));
  const found = Object.fromEntries(names.map((name, at) => [name, getComputedStyle(probes[at]).color]));
  place.remove();
  return found;
}

/** Whether a key press belongs to a field, a menu or a dialog and not to the page's shortcuts. */
export function typing(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) {
    return true;
  }
  const at = event.target;
  return at.closest?.(FIELDS) != null;
}

/** Copy to the clipboard; true when the browser let us. */
export async function copy(value) {
  try {
    await navigator.clipboard.writeText(value);
    return true;
  } catch {                      // refused without focus or permission: the caller says so
    return false;
  }
}
