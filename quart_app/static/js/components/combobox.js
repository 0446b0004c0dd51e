// A text field that suggests while one types, as the ARIA pattern of a combobox with a list has it.
import { el, fill } from "../dom.js"

/**
 * `search(text)` resolves to what there is, `show(item)` gives an option's content, `choose(item)` is told what was chosen,
 * and `found(count, text)` how many there are; null while nothing is asked for.
 */
export function combobox(input, list, { search, show, choose, found }) {
  let items = []
  let at = -1
  let asked = 0
  let latest = null

  const suggest = () => { latest = look() }
  const look = async () => {
    const text = input.value.trim()
    const number = ++asked
    const answer = await search(text)
    if (answer && number === asked && input.matches(":focus")) open(answer, text)
  }
  const open = (answer, text) => {
    items = answer
    fill(list, items.map((item, index) => option(item, index))).hidden = !items.length
    input.setAttribute("aria-expanded", String(items.length > 0))
    mark(text && items.length ? 0 : -1)
    found(items.length, text)
  }
  const option = (item, index) => el("li", { class: "combobox__option", role: "option", id: `${list.id}-${index}`, "aria-selected": "false" }, show(item))
  const mark = (index) => {
    list.children[at]?.setAttribute("aria-selected", "false")
    at = index
    const marked = list.children[at]
    marked?.setAttribute("aria-selected", "true")
    marked?.scrollIntoView({ block: "nearest" })
    if (marked) input.setAttribute("aria-activedescendant", marked.id)
    else input.removeAttribute("aria-activedescendant")
  }
  const close = () => {
    asked += 1
    list.hidden = true
    input.setAttribute("aria-expanded", "false")
    mark(-1)
    found(null, "")
  }
  const take = (index) => {
    close()
    choose(items[index])
  }
  const keys = {
    ArrowDown: () => (list.hidden ? suggest() : mark((at + 1) % items.length)),
    ArrowUp: () => (list.hidden ? suggest() : mark((at <= 0 ? items.length : at) - 1)),
    Enter: async () => { await latest; if (at >= 0) take(at) }, // what is shown may be for less than was typed
    Escape: () => !list.hidden && close(),
  }

  input.addEventListener("input", () => (input.value.trim() ? suggest() : close()))
  input.addEventListener("blur", close)
  input.addEventListener("keydown", (event) => {
    if (!Object.hasOwn(keys, event.key) || event.isComposing) return
    if (event.key !== "Escape" || !list.hidden) event.preventDefault()
    keys[event.key]()
  })
  list.addEventListener("pointerdown", (event) => event.preventDefault())
  list.addEventListener("click", (event) => {
    const index = [...list.children].indexOf(event.target.closest("[role=option]"))
    if (index >= 0) take(index)
  })
  return { close }
}
