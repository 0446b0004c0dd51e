// Rows of a name and a value: query parameters, headers, form fields. An empty row waits at the end.
import { button, el } from "../dom.js"

/** Returns { element, read() -> [[name, value]], write(pairs) }; rows without a name and a value are left out. */
export function pairs(noun, { onchange = () => {}, names = [] } = {}) {
  const list = el("ul", { class: "pairs", "aria-label": `${noun} rows` })
  const known = names.length ? suggestions(noun, names) : null

  const read = () => [...list.children].map(valuesOf).filter(([name, value]) => name || value)
  const write = (rows) => list.replaceChildren(...rows.map(([name, value]) => row(name, value)), row())
  const changed = () => {
    if (valuesOf(list.lastElementChild).some(Boolean)) list.append(row())
    onchange()
  }
  const row = (name = "", value = "") => {
    const item = el("li", { class: "pairs__row" },
      el("input", { class: "data", "aria-label": `${noun} name`, placeholder: "name", value: name, list: known?.id, autocomplete: "off", autocapitalize: "off", spellcheck: "false", oninput: changed }),
      el("input", { class: "data", "aria-label": `${noun} value`, placeholder: "value", value, autocomplete: "off", autocapitalize: "off", spellcheck: "false", oninput: changed }),
      button("✕", () => drop(item), { kind: "quiet", "aria-label": `Remove ${noun.toLowerCase()}`, title: "Remove" }))
    return item
  }
  const drop = (item) => {
    const next = item.nextElementSibling ?? item.previousElementSibling
    if (list.children.length > 1) item.remove()
    else list.replaceChildren(row())
    ;(next ?? list.firstElementChild).querySelector("input").focus()
    if (valuesOf(list.lastElementChild).some(Boolean)) list.append(row())
    onchange()
  }

  write([])
  return { element: el("div", {}, list, known), read, write }
}

const valuesOf = (item) => [...item.querySelectorAll("input")].map((input) => input.value)

function suggestions(noun, names) {
  return el("datalist", { id: `${noun.toLowerCase().replaceAll(" ", "-")}-names` }, names.map((name) => el("option", { value: name })))
}
