// Lines of a terminal as pieces of plain text with class names: colours by ECMA-48 SGR, everything else of it
// left out. Pure.

const ESCAPES = /\x1b\[([0-9;:?]*)[ -/]*([@-~])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\^_]/g;
const CONTROLS = /[\x00-\x08\x0b-\x1f\x7f]/g;
const COLOURS = ["m3", "a-red", "a-green", "a-yellow", "a-blue", "a-magenta", "a-cyan", ""];

/** The nearest of the eight colours to red, green, blue of 0 to 255. */
function nearestColour(red, green, blue) {
  const most = Math.max(red, green, blue);
  if (most < 60 || most - Math.min(red, green, blue) < 40) {
    return most < 150 ? 0 : 7;
  }
  return (red > most * 0.6 ? 1 : 0) + (green > most * 0.6 ? 2 : 0) + (blue > most * 0.6 ? 4 : 0);
}

function colourOf256(index) {
  if (index < 16) {
    return index % 8;
  }
  if (index >= 232) {
    return index < 244 ? 0 : 7;
  }
  const cube = index - 16;
  return nearestColour(Math.floor(cube / 36) * 51, (Math.floor(cube / 6) % 6) * 51, (cube % 6) * 51);
}

function extended(codes, at) {
  if (codes[at + 1] === 5) {
    return [colourOf256(codes[at + 2] || 0), 2];
  }
  return codes[at + 1] === 2 ? [nearestColour(codes[at + 2] || 0, codes[at + 3] || 0, codes[at + 4] || 0), 4]
    : [null, 0];
}

/** What "select graphic rendition" makes of a style {colour, bold, faint, under}. */
function restyle(style, parameters) {
  const codes = parameters.split(/[;:]/).map(Number);
  const next = {...style};
  for (let at = 0; at < codes.length; at += 1) {
    const code = codes[at];
    if (code === 0) {
      Object.assign(next, {colour: null, bold: false, faint: false, under: false});
    } else if (code === 1 || code === 22) {
      Object.assign(next, {bold: code === 1, faint: false});
    } else if (code === 2) {
      next.faint = true;
    } else if (code === 4 || code === 24) {
      next.under = code === 4;
    } else if ((code >= 30 && code <= 37) || (code >= 90 && code <= 97)) {
      next.colour = code % 10;
    } else if (code === 39) {
      next.colour = null;
    } else if (code === 38 || code === 48) {
      const [colour, used] = extended(codes, at);
      next.colour = code === 38 ? colour : next.colour;
      at += used;
    }
  }
  return next;
}

const PLAIN = {colour: null, bold: false, faint: false, under: false};

function classOf({colour, bold, faint, under}) {
  return [colour === null || colour === undefined ? "" : COLOURS[colour], bold && "a-bold", faint && "m3",
    under && "a-under"]
    .filter(Boolean)
    .join(" ");
}

/** [{text, class}] of a line; escape sequences and control characters are gone. */
export function pieces(line) {
  const out = [];
  let [style, from] = [PLAIN, 0];
  const add = (text) => {
    const clean = text.replace(CONTROLS, "");
    if (clean) {
      out.push({text: clean, class: classOf(style)});
    }
  };
  for (const found of line.matchAll(ESCAPES)) {
    add(line.slice(from, found.index));
    from = found.index + found[0].length;
    if (found[2] === "m") {
      style = restyle(style, found[1]);
    }
  }
  add(line.slice(from));
  return out;
}

/** The line without its colours, as it is searched and copied. */
export const plain = (line) => pieces(line).map(({text}) => text).join("");

/** A global expression for what the reader searches, null for nothing or half an expression. */
export function searchPattern(query, regex) {
  if (!query) {
    return null;
  }
  try {
    return new RegExp(regex ? query : query.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "gi");
  } catch {                      // half typed; the viewer says what is wrong with it
    return null;
  }
}

/** Cut pieces further where the pattern matches: [{text, class, hit}]. Matches may span colours. */
export function marked(list, pattern) {
  if (!pattern) {
    return list;
  }
  const whole = list.map(({text}) => text).join("");
  const hits = [...whole.matchAll(pattern)].filter((found) => found[0])
    .map((found) => [found.index, found.index + found[0].length]);
  if (!hits.length) {
    return list;
  }
  const cuts = [...new Set(hits.flat())].sort((a, b) => a - b);
  let at = 0;
  return list.flatMap((piece) => {
    const [start, end] = [at, at + piece.text.length];
    at = end;
    const inside = [start, ...cuts.filter((cut) => cut > start && cut < end), end];
    return inside
      .slice(1)
      .map((stop, i) => ({
        ...piece,
        text: piece.text.slice(inside[i] - start, stop - start),
        hit: hits.some(([a, b]) => inside[i] >= a && stop <= b),
      }));
  });
}
