// JSON with whole numbers of any size: one above 2^53 is a BigInt here and leaves as it came.

/** For JSON.parse. */
export function exactNumbers(_key, value, context) {
  if (typeof value !== "number" || Number.isSafeInteger(value)) return value
  return /^-?\d+$/.test(context?.source ?? "") ? BigInt(context.source) : value
}

export function readJson(text) {
  return JSON.parse(text, exactNumbers)
}

export function writeJson(value, indent) {
  return JSON.stringify(value, (_key, part) => (typeof part === "bigint" ? rawNumber(part) : part), indent)
}

function rawNumber(number) {
  return JSON.rawJSON ? JSON.rawJSON(String(number)) : Number(number)
}
