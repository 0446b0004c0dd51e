// Rows of the parts of a multipart body: each a name with a text or a file, and a media type if one likes. An empty row waits at the end.
import { button, el } from "../dom.js"
import { bytes } from "../format.js"

/** Returns { element, read() -> [{name, kind, text, file, media_type}], write(parts) }; rows without a name and a content are left out. */
export function partRows(onchange) {
  const list = el("ul", { class: "parts", "aria-label": "Parts" })
  const valuesOf = (item) => item.readPart()
  const isUsed = ({ name, text, file }) => Boolean(name || text || file)
  const read = () => [...list.children].map(valuesOf).filter(isUsed)
  const write = (parts) => list.replaceChildren(...parts.map(row), row())
  const changed = () => {
    if (!list.lastElementChild || isUsed(valuesOf(list.lastElementChild))) list.append(row())
    onchange()
  }
  const drop = (item) => {
    const next = item.nextElementSibling ?? item.previousElementSibling
    item.remove()
    changed()
    ;(next ?? list.firstElementChild).querySelector("input").focus()
  }
  const row = (part) => partRow(part, changed, drop)
  write([])
  return { element: el("div", {}, list), read, write }
}

function partRow({ name = "", kind = "text", text = "", media_type = "" } = {}, changed, drop) {
  const fields = {
    name: el("input", { class: "data", "aria-label": "Part name", placeholder: "name", value: name, autocomplete: "off", autocapitalize: "off", spellcheck: "false" }),
    kind: el("select", { "aria-label": "Part is" }, el("option", { value: "text" }, "Text"), el("option", { value: "file" }, "File")),
    text: el("input", { class: "data", "aria-label": "Part text", placeholder: "text", value: text, autocomplete: "off", spellcheck: "false" }),
    file: el("input", { type: "file", "aria-label": "Part file" }),
    media_type: el("input", { class: "data", "aria-label": "Part media type", placeholder: "media type", value: media_type, list: "media-types", autocomplete: "off", autocapitalize: "off", spellcheck: "false" }),
  }
  fields.kind.value = kind
  const adapt = () => {
    const isFile = fields.kind.value === "file"
    fields.text.hidden = isFile
    fields.file.hidden = !isFile
    const [file] = fields.file.files
    fields.media_type.placeholder = (isFile && file?.type) || "media type"
    fields.file.title = file ? bytes(file.size) : ""
  }
  const item = el("li", { class: "parts__row", oninput: () => { adapt(); changed() } }, Object.values(fields),
    button("✕", () => drop(item), { kind: "quiet", "aria-label": "Remove part", title: "Remove" }))
  item.readPart = () => {
    const { name, kind, text, file, media_type } = fields
    const content = kind.value === "file" ? { text: "", file: file.files[0] ?? null } : { text: text.value, file: null }
    return { name: name.value, kind: kind.value, ...content, media_type: media_type.value.trim() }
  }
  adapt()
  return item
}
