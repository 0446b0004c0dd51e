// JSON Pointers (RFC 6901) into a call, as a person reads them.

const GROUPS = [
  [["response", "body"], "Answer: body"],
  [["response", "headers"], "Answer: headers"],
  [["response"], "Answer"],
  [["request", "body"], "Request: body"],
  [["request", "headers"], "Request: headers"],
  [["request"], "Request"],
]
const KINDS = ["json", "text", "base64"]

const partsOf = (pointer) => pointer.split("/").slice(1).map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"))

/** {group, label}: where it is, and what it is called there. */
export function placeOf(pointer) {
  const parts = partsOf(pointer)
  const [begin, group] = GROUPS.find(([start]) => start.every((part, index) => parts[index] === part)) ?? [[], "The call"]
  const rest = parts.slice(begin.length)
  if (begin[1] === "body" && KINDS.includes(rest[0])) rest.shift()
  return { group, label: rest.join(" › ") || "the whole body" }
}

/** The same path in every item of its lists; null where it is in none. */
export function inEveryItem(pointer) {
  const general = pointer.replace(/\/\d+(?=\/|$)/g, "/*")
  return general === pointer ? null : general
}
