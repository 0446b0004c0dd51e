// Headers as they were, in their order.
import { el } from "../dom.js"
import { visible } from "../format.js"

export function headersView(headers, nothing = "There are no headers.") {
  if (!headers?.length) return el("p", { class: "faint" }, nothing)
  return el("dl", { class: "headers data" }, headers.map(([name, value]) => [
    el("dt", {}, visible(name)),
    el("dd", { class: value === "[redacted]" ? "faint" : "" }, visible(value)),
  ]).flat())
}
