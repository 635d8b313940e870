// Lists what the pages use that needs newer browsers than the floor: `node tests/js/floor.mjs FOLDER
// [STATIC]`, where FOLDER holds node_modules with @mdn/browser-compat-data, acorn, acorn-walk, css-tree,
// es-check, eslint and eslint-plugin-compat. Ends with 1 where there is anything.
//
// Firefox 115 and Safari 16.4 themselves are not to be had everywhere; the tables of what they know are.

import {execFileSync} from "node:child_process";
import fs from "node:fs";
import {createRequire} from "node:module";
import path from "node:path";

const FLOOR = {chrome: 115, firefox: 115, safari: 16.4};
const STATIC = path.join(process.argv[3] || new URL("../../static/", import.meta.url).pathname, "/");
const folder = path.resolve(process.argv[2]);
const require = createRequire(path.join(folder, "package.json"));
const bcd = require("@mdn/browser-compat-data");
const css = require("css-tree");
const acorn = require("acorn");
const walk = require("acorn-walk");

// Known to be newer, and harmless where it is not known: why.
const HARMLESS = new Map([
  ["css.properties.overflow-anchor", "Safari keeps no place by itself, and the log keeps its own"],
  ["css.properties.overflow-anchor.none", "the same"],
  ["css.properties.forced-color-adjust", "Safari has no forced colours"],
  ["css.properties.forced-color-adjust.none", "the same"],
  ["css.properties.overscroll-behavior",
    "known since long, but for boxes that do not scroll; it only keeps a page from moving with a list"],
  ["css.properties.contain.style", "saves work where it is known"],
  ["css.properties.user-select", "has its prefix"],
]);

/** Which browsers of the floor do not know a feature yet: ["safari 17.5", …]. */
function lacking(compat) {
  return Object.entries(FLOOR).flatMap(([browser, version]) => {
    const told = [compat.support[browser]].flat()
      .find((one) => one && !one.flags && !one.partial_implementation) ?? null;
    const added = told?.version_added;
    const known = added && added !== "preview"
      && Number.parseFloat(String(added).replace("≤", "")) <= version;
    return known || (told?.prefix && known) ? [] : [`${browser} ${added || "never"}`];
  });
}

const findings = [];

function check(where, name, compat) {
  const lacks = compat ? lacking(compat) : [];
  if (lacks.length && !HARMLESS.has(name)) {
    findings.push(`${where}: ${name} (${lacks.join(", ")})`);
  }
}

const FUNCTIONS = {"light-dark": bcd.css.types.color["light-dark"],
  "color-mix": bcd.css.types.color["color-mix"]};
const seen = {properties: 0, selectors: 0, rules: 0, members: 0};

function checkStyles(name) {
  const tree = css.parse(fs.readFileSync(path.join(STATIC, name), "utf8"),
    {positions: true, parseCustomProperty: true});
  css.walk(tree, (node) => {
    const where = `${name}:${node.loc?.start.line}`;
    if (node.type === "Declaration" && (node.property.startsWith("--") || !node.property.startsWith("-"))) {
      seen.properties += 1;
      const property = bcd.css.properties[node.property];
      check(where, `css.properties.${node.property}`, property?.__compat);
      css.walk(node.value, (part) => {
        if (part.type === "Identifier" && property?.[part.name]?.__compat) {
          check(where, `css.properties.${node.property}.${part.name}`, property[part.name].__compat);
        } else if (part.type === "Function") {
          const known = FUNCTIONS[part.name] || bcd.css.types[part.name] || bcd.css.types.color?.[part.name];
          check(where, `${part.name}()`, known?.__compat);
        } else if (part.type === "Dimension" && /^cq|^[dsl]v[hwib]?$/.test(part.unit)) {
          check(where, `unit ${part.unit}`, bcd.css.types.length?.[part.unit]?.__compat
            || bcd.css.types.length?.container_query_length_units?.__compat);
        }
      });
    } else if (node.type === "Atrule") {
      seen.rules += 1;
      check(where, `@${node.name}`, bcd.css["at-rules"][node.name]?.__compat);
    } else if (/^Pseudo(Class|Element)Selector$/.test(node.type) && !node.name.startsWith("-")) {
      seen.selectors += 1;
      check(where, `:${node.name}`, bcd.css.selectors[node.name]?.__compat);
    }
  });
}

const interfaces = {...bcd.api, ...bcd.javascript.builtins};
// The kinds of objects whose members are looked for by their names alone: [[kind, compat data], …] by member.
const COMMON = ["Array", "String", "Number", "Map", "Set", "Promise", "Element", "HTMLElement",
  "HTMLDialogElement", "Node", "Document", "DocumentFragment", "Selection", "Range", "DOMTokenList",
  "URLSearchParams"];
const members = new Map();
for (const [name, parts] of COMMON.map((name) => [name, interfaces[name]])) {
  for (const [member, data] of Object.entries(parts)) {
    if (member !== "__compat" && data.__compat && !member.endsWith("_static") && !member.endsWith("_event")) {
      members.set(member, [...(members.get(member) || []), [name, data.__compat]]);
    }
  }
}

function checkScript(name) {
  const text = fs.readFileSync(path.join(STATIC, name), "utf8");
  const classic = ["preload.js", "floor.js", "report/report.js"].includes(name);
  const tree = acorn.parse(text,
    {ecmaVersion: name === "floor.js" ? 5 : 2022, sourceType: classic ? "script" : "module",
      locations: true});
  walk.full(tree, (node) => {
    const where = `${name}:${node.loc.start.line}`;
    if (node.type === "MemberExpression" && !node.computed && node.property.type === "Identifier") {
      seen.members += 1;
      const {name: member} = node.property;
      const owner = node.object.type === "Identifier" ? interfaces[node.object.name] : null;
      if (owner) {
        check(where, `${node.object.name}.${member}`, (owner[`${member}_static`] || owner[member])?.__compat);
      } else if (members.has(member)) {        // of an object whose kind is not known: newer only where it is so for every kind
        const all = members.get(member);
        if (all.every(([, compat]) => lacking(compat).length)) {
          check(where, `${all[0][0]}.${member}`, all[0][1]);
        }
      }
    } else if (node.type === "NewExpression" && node.callee.type === "Identifier") {
      check(where, `new ${node.callee.name}`, interfaces[node.callee.name]?.__compat);
    } else if (node.type === "Literal" && node.regex) {
      if (/\(\?<[=!]/.test(node.regex.pattern)) {
        check(where, "lookbehind", bcd.javascript.regular_expressions.lookbehind_assertion.__compat);
      }
      if (node.regex.flags.includes("v")) {
        findings.push(`${where}: a regular expression with the flag v`);
      }
    }
  });
}

const names = fs.readdirSync(STATIC, {recursive: true}).map((name) => name.replaceAll(path.sep, "/"))
  .filter((name) => !name.startsWith("uplot/"));
const scripts = names.filter((name) => name.endsWith(".js"));
names.filter((name) => name.endsWith(".css")).forEach(checkStyles);
scripts.forEach(checkScript);

/** A tool's own verdict: what it prints where it finds fault. */
function ask(program, args) {
  try {
    execFileSync(path.join(folder, "node_modules", ".bin", program), args,
      {cwd: folder, encoding: "utf8", stdio: "pipe"});
  } catch (error) {
    findings.push(`${program}:\n${error.stdout}${error.stderr}`);
  }
}

const CONFIG = path.join(folder, "eslint.config.mjs");
fs.writeFileSync(CONFIG, `import compat from "eslint-plugin-compat";
export default [{files: ["**/*.js"], plugins: {compat}, rules: {"compat/compat": "error"}, linterOptions: {reportUnusedDisableDirectives: "off"},
  languageOptions: {ecmaVersion: 2022, sourceType: "module", globals: {window: false, document: false, navigator: false}},
  settings: {browsers: ["chrome 115", "firefox 115", "safari 16.4"], lintAllEsApis: true}}];
`);
const copies = path.join(folder, "static");     // eslint looks at nothing outside the folder of its configuration
fs.rmSync(copies, {recursive: true, force: true});
fs.mkdirSync(copies);
for (const name of scripts) {
  fs.mkdirSync(path.dirname(path.join(copies, name)), {recursive: true});
  fs.copyFileSync(path.join(STATIC, name), path.join(copies, name));
}
ask("eslint", ["--config", CONFIG, "static"]);
ask("es-check", ["es2022", "--module", "--noCache", "static/**/*.js"]);

console.log(findings.join("\n")
  || `nothing: ${seen.properties} declarations, ${seen.selectors} selectors, ${seen.rules} rules, `
  + `${scripts.length} scripts with ${seen.members} members`);
process.exitCode = findings.length || !seen.properties || !seen.members ? 1 : 0;
