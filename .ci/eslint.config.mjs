// What `make lint` asks of the pages: no name that is not bound, none that nobody uses, no comparison that is always the same.
const BROWSER = `AbortController AbortSignal Blob CSS CustomEvent DOMException DOMParser DecompressionStream Element Event EventSource
  HTMLElement Image IntersectionObserver Intl KeyboardEvent MutationObserver Node PointerEvent ResizeObserver Response Text TextDecoder
  TextDecoderStream TextEncoder URL URLSearchParams Worker addEventListener cancelAnimationFrame clearInterval clearTimeout confirm
  console crypto devicePixelRatio dispatchEvent document fetch getComputedStyle getSelection history innerHeight innerWidth
  localStorage location matchMedia navigator performance queueMicrotask removeEventListener reportError requestAnimationFrame screen scrollTo
  scrollX scrollY sessionStorage setInterval setTimeout structuredClone uPlot window`.split(/\s+/);
const RULES = `array-callback-return constructor-super for-direction getter-return no-async-promise-executor no-class-assign
  no-compare-neg-zero no-cond-assign no-const-assign no-constant-binary-expression no-constant-condition no-debugger no-dupe-args
  no-dupe-class-members no-dupe-else-if no-dupe-keys no-duplicate-case no-empty-character-class no-empty-pattern no-ex-assign
  no-fallthrough no-func-assign no-global-assign no-import-assign no-invalid-regexp no-irregular-whitespace no-loss-of-precision
  no-new-native-nonconstructor no-obj-calls no-redeclare no-self-assign no-self-compare no-setter-return no-shadow-restricted-names
  no-sparse-arrays no-this-before-super no-undef no-unexpected-multiline no-unreachable no-unsafe-finally no-unsafe-negation
  no-unsafe-optional-chaining no-unused-labels no-useless-assignment no-useless-backreference no-useless-catch no-useless-escape
  no-var prefer-const require-yield use-isnan valid-typeof`.split(/\s+/);

export default [
  {ignores: ["static/uplot/"]},
  {
    languageOptions: {ecmaVersion: 2022, sourceType: "module", globals: Object.fromEntries(BROWSER.map((name) => [name, "readonly"]))},
    linterOptions: {reportUnusedDisableDirectives: "error"},
    rules: {
      ...Object.fromEntries(RULES.map((name) => [name, "error"])),
      eqeqeq: ["error", "smart"],         // == null is meant
      "no-unused-vars": ["error", {ignoreRestSiblings: true, caughtErrors: "none", argsIgnorePattern: "^_"}],
    },
  },
  {files: ["static/floor.js"], rules: {"no-var": "off"}},       // which tells old browsers so
];
