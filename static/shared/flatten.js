// Nested values as a flat list of names. Pure.

/** {optimizer: {lr: 0.001}} -> [["optimizer.lr", 0.001]]; lists of values and empty objects stay whole. */
export function flattened(values, prefix = "") {
  return Object.entries(values || {}).flatMap(([name, value]) => {
    const path = prefix ? `${prefix}.${name}` : name;
    const objects = Array.isArray(value)
      && value.every((one) => one && typeof one === "object" && !Array.isArray(one));
    const inner = value && typeof value === "object" && (objects || !Array.isArray(value))
      && Object.keys(value).length;
    return inner ? flattened(value, path) : [[path, value]];
  });
}
