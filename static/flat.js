// Nested values as a flat list of names. Pure.

/** {optimizer: {lr: 0.001}} -> [["optimizer.lr", 0.001]]; lists and empty objects stay whole. */
export function flattened(values, prefix = "") {
  return Object.entries(values || {}).flatMap(([name, value]) => {
    const path = prefix ? `${prefix}.${name}` : name;
    const inner = value && typeof value === "object" && !Array.isArray(value) && Object.keys(value).length;
    return inner ? flattened(value, path) : [[path, value]];
  });
}
