// A recorded body: JSON as a tree, text as it is, anything else by its size, with the way to its bytes.
import { el } from "../dom.js"
import { bytes, visible } from "../format.js"
import { readJson, writeJson } from "../json.js"
import { copyButton } from "./copy.js"
import { jsonTree } from "./json_tree.js"
import { notice } from "./notice.js"

/** `source` is the address of the bytes; `nothing` is said of a body that is not there. */
export function bodyView(body, source, nothing) {
  if (!body) return el("p", { class: "faint" }, nothing)
  const text = textOf(body)
  return el("div", { class: "body" },
    el("p", { class: "body__facts" }, el("span", { class: "data" }, visible(body.media_type ?? "no media type")), ` · ${bytes(body.size)}`,
      el("span", { class: "body__ways" }, text ? copyButton("Copy body", text) : null,
        kept(body) ? el("a", { class: "button button--quiet", href: source, download: "" }, "Download") : null)),
    body.truncated && kept(body) ? notice("warning", "Only the beginning is on record.", el("p", {}, `The whole body had ${bytes(body.size)}. “Record per body” of the connection sets how much is kept.`)) : null,
    content(body, text))
}

function content(body, text) {
  const value = valueOf(body)
  if (value !== null && typeof value === "object") return jsonTree(value)
  if (text) return el("pre", { class: "body__text data", tabindex: 0 }, visible(text))
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
