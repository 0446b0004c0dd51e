// Paths that a comparison leaves out, kept for each connection in this browser.
import { button, el, fill } from "../dom.js"
import { visible } from "../format.js"

const keyOf = (connection) => `switchboard:ignored:${connection}`

/** Returns { element, read() -> [pointer], add(pointer) }; `changed` runs when the list is another. */
export function ignoredPaths(connection, changed) {
  const list = el("ul", { class: "ignored__list", "aria-label": "Ignored paths" })
  const field = el("input", { class: "data", id: "ignore", placeholder: "/response/body/json/items/*/id", autocomplete: "off", autocapitalize: "off", spellcheck: "false", "aria-describedby": "ignore-hint" })
  let paths = stored(connection)

  const add = (path) => {
    const pointer = path.trim() && `/${path.trim().replace(/^\/+/, "")}`
    if (pointer && !paths.includes(pointer)) set([...paths, pointer])
  }
  const set = (now) => {
    paths = now
    store(connection, paths)
    show()
    changed()
  }
  const show = () => {
    fill(list, paths.map((path) => el("li", { class: "ignored__path" }, el("span", { class: "data" }, visible(path)),
      button("✕", () => { set(paths.filter((other) => other !== path)); field.focus() }, { kind: "quiet", "aria-label": `No longer ignore ${path}`, title: "No longer ignore" }))))
  }
  const form = el("form", { class: "ignored", onsubmit: (event) => { event.preventDefault(); add(field.value); field.value = "" } },
    el("label", { for: "ignore" }, "Ignore a path"),
    el("div", { class: "ignored__entry" }, field, el("button", { type: "submit", class: "button" }, "Ignore")),
    el("p", { class: "field__hint", id: "ignore-hint" }, "All below a path is ignored too; * stands for any one part. Kept in this browser for the connection."),
    list)
  show()
  return { element: form, read: () => paths, add }
}

function stored(connection) {
  try {
    return JSON.parse(localStorage.getItem(keyOf(connection)) ?? "[]").map(String)
  } catch {
    return []
  }
}

function store(connection, paths) {
  try {
    localStorage.setItem(keyOf(connection), JSON.stringify(paths))
  } catch {
    // a browser that keeps nothing still compares
  }
}
