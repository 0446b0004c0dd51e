// Elements without markup in strings: what comes from upstream only ever becomes text.

export const byId = (id) => document.getElementById(id)

/** el("a", { class: "link", href: "/x", onclick: go }, "Text", other): null and false leave a property or a child out. */
export function el(name, properties = {}, ...children) {
  const element = document.createElement(name)
  for (const [property, value] of Object.entries(properties)) set(element, property, value)
  element.append(...children.flat().filter((child) => child != null && child !== false))
  return element
}

function set(element, property, value) {
  if (value == null || value === false) return
  if (property.startsWith("on")) element.addEventListener(property.slice(2), value)
  else if (property === "dataset") Object.assign(element.dataset, value)
  else if (property === "value") element.value = value
  else element.setAttribute(property, value === true ? "" : value)
}

export function button(label, onclick, { kind = "", ...properties } = {}) {
  return el("button", { type: "button", class: `button ${kind && `button--${kind}`}`.trim(), onclick, ...properties }, label)
}

/** A button of the template, which is disabled until its deed is here. */
export function enable(id, onclick) {
  byId(id).disabled = false
  byId(id).addEventListener("click", onclick)
}

export function fill(element, ...children) {
  element.replaceChildren(...children.flat().filter((child) => child != null && child !== false))
  return element
}

/** Disables a button and marks it busy while `work` runs. */
export async function busy(control, work) {
  control.disabled = true
  control.setAttribute("aria-busy", "true")
  try {
    return await work()
  } finally {
    control.disabled = false
    control.removeAttribute("aria-busy")
  }
}

/** Tells a screen reader, and with `shown` everyone. */
export function announce(text, { shown = false } = {}) {
  const region = byId("announcements")
  region.textContent = text
  region.classList.toggle("toast--shown", shown)
  clearTimeout(announce.timer)
  announce.timer = setTimeout(() => region.classList.remove("toast--shown"), 3500)
}
