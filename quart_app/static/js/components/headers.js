// Headers as they were, in their order.
import { el } from "../dom.js"
import { visible } from "../format.js"
import { marked } from "./secret_mark.js"

export function headersView(headers, nothing = "There are no headers.") {
  if (!headers?.length) return el("p", { class: "faint" }, nothing)
  return el("dl", { class: "headers data" }, headers.flatMap(([name, value]) => [el("dt", {}, visible(name)), el("dd", {}, marked(value))]))
}
