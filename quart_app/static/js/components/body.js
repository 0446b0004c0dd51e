// A recorded body: JSON as a tree, text as it is, anything else by its size, with the way to its bytes.
import { el } from "../dom.js"
import { bytes, visible } from "../format.js"
import { readJson, writeJson } from "../json.js"
import { fixLink } from "./connection_link.js"
import { copyButton } from "./copy.js"
import { jsonTree } from "./json_tree.js"
import { notice } from "./notice.js"
import { marked } from "./secret_mark.js"

/** `source` is the address of the bytes; `nothing` is said of a body that is not there; `connection` is whose policy cuts it. */
export function bodyView(body, source, nothing, connection) {
  if (!body) return el("p", { class: "faint" }, nothing)
  const text = textOf(body)
  return el("div", { class: "body" },
    el("p", { class: "body__facts" }, el("span", { class: "data" }, visible(body.media_type ?? "no media type")), ` · ${bytes(body.size)}`,
      el("span", { class: "body__ways" }, text ? copyButton("Copy body", text) : null,
        kept(body) ? el("a", { class: "button button--quiet", href: source, download: "" }, "Download") : null)),
    body.truncated && kept(body) ? cut(body, connection) : null,
    content(body, text))
}

/** The cut is in the record only: what went over the wire was whole. */
function cut(body, connection) {
  return notice("warning", "Only the beginning is on record.",
    el("p", {}, `The whole body had ${bytes(body.size)}, and all of it was passed on. The history keeps a part, as the connection sets it. `,
      fixLink(connection, { field: "/policy/record_bytes", label: "Change how much is kept" })))
}

function content(body, text) {
  const value = valueOf(body)
  if (value !== null && typeof value === "object") return jsonTree(value)
  if (text) return el("pre", { class: "body__text data", tabindex: 0 }, marked(text))
  if (body.size === 0) return el("p", { class: "faint" }, "The body is empty.")
  return el("p", { class: "faint" }, kept(body) ? "This is not text. Download it to look at it." : "The body was not kept, only its size.")
}

const kept = (body) => body.json !== undefined || Boolean(body.text ?? body.base64)

/** JSON that came as text is read here, so that it folds too. */
function valueOf(body) {
  if (body.json !== undefined) return body.json
  if (!/\bjson\b/.test(body.media_type ?? "") || body.truncated || typeof body.text !== "string") return null
  try {
    return readJson(body.text)
  } catch {
    return null
  }
}

/** The body as text, null if it is not text. */
export function textOf(body) {
  if (typeof body?.text === "string") return body.text
  return body?.json === undefined ? null : writeJson(body.json, 2)
}
