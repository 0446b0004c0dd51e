// Tabs as the ARIA pattern has them: arrow keys, Home and End move; one tab stop.
import { el } from "../dom.js"

let made = 0

/** tabs("Answer", [["Body", node], ["Headers", node, "12"]], { chosen: 1 }) */
export function tabs(label, parts, { chosen = 0 } = {}) {
  const id = `tabs-${++made}`
  const controls = parts.map(([name, , count], index) => tab(id, index, name, count))
  const panes = parts.map(([, content], index) =>
    el("div", { class: "tabs__pane", role: "tabpanel", id: `${id}-pane-${index}`, "aria-labelledby": `${id}-tab-${index}`, tabindex: 0 }, content))
  const list = el("div", { class: "tabs__list", role: "tablist", "aria-label": label }, controls)
  const choose = (index) => {
    controls.forEach((control, at) => {
      control.setAttribute("aria-selected", String(at === index))
      control.tabIndex = at === index ? 0 : -1
      panes[at].hidden = at !== index
    })
  }
  list.addEventListener("click", (event) => {
    const index = controls.indexOf(event.target.closest("[role=tab]"))
    if (index >= 0) choose(index)
  })
  list.addEventListener("keydown", (event) => {
    const index = target(event.key, controls.indexOf(document.activeElement), controls.length)
    if (index === null) return
    event.preventDefault()
    choose(index)
    controls[index].focus()
  })
  choose(chosen)
  return el("div", { class: "tabs" }, list, panes)
}

function tab(id, index, name, count) {
  return el("button", { class: "tabs__tab", type: "button", role: "tab", id: `${id}-tab-${index}`, "aria-controls": `${id}-pane-${index}` },
    name, el("span", { class: "tabs__count" }, count ?? ""))
}

export function setCount(tabs, index, count) {
  tabs.querySelectorAll(":scope > [role=tablist] .tabs__count")[index].textContent = count || ""
}

function target(key, index, count) {
  if (key === "ArrowRight") return (index + 1) % count
  if (key === "ArrowLeft") return (index + count - 1) % count
  if (key === "Home") return 0
  if (key === "End") return count - 1
  return null
}
