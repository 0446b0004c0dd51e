// A form whose fields are named by JSON pointers: read it as an object, fill it from one, show each fault at its field.
import { el, fill } from "../dom.js"
import { visible } from "../format.js"

/** Disabled fields are left out, and so are empty ones of text; an empty number is null. */
export function readForm(form) {
  const object = {}
  for (const field of form.elements) {
    if (!field.name || field.matches(":disabled")) continue
    const value = valueOf(field)
    if (value !== undefined) put(object, field.name.slice(1).split("/"), value)
  }
  return object
}

function valueOf(field) {
  if (field.type === "checkbox") return field.checked
  if (field.type === "number") return field.value === "" ? null : Number(field.value)
  const text = field.dataset.secret === undefined ? field.value.trim() : field.value
  return (field.dataset.json === undefined ? text : jsonOf(text)) || undefined
}

/** What is not JSON stays a text, so that the server says what is wrong with it. */
function jsonOf(text) {
  try {
    return text && JSON.parse(text)
  } catch {
    return text
  }
}

function put(object, [first, ...rest], value) {
  if (rest.length) put((object[first] ??= {}), rest, value)
  else object[first] = value
}

/** A secret that is set comes as {"set": true, "fingerprint"}: its field stays empty and says that it may. */
export function fillForm(form, object) {
  for (const field of form.elements) {
    if (!field.name) continue
    const value = field.name.slice(1).split("/").reduce((part, key) => part?.[key], object)
    if (value?.set) field.placeholder = `kept unless you type a new one (${value.fingerprint})`
    else if (value == null) continue
    else if (field.type === "checkbox") field.checked = value
    else if (field.dataset.json === undefined) field.value = value
    else field.value = Object.keys(value).length ? JSON.stringify(value, null, 2) : ""
  }
}

/** Back to what the page came with, those whose names begin so. */
export function resetFields(form, prefix) {
  for (const field of form.elements) {
    if (!field.name.startsWith(prefix)) continue
    if (field.matches("select")) field.selectedIndex = 0
    else if (field.type === "checkbox") field.checked = field.defaultChecked
    else field.value = field.defaultValue
  }
}

/** Returns the faults that no field could take. */
export function showFaults(form, errors) {
  clearFaults(form)
  const places = [...form.querySelectorAll("[data-fault-of]")].filter((place) => !place.closest(":disabled"))
  const rest = errors.filter(({ pointer = "", detail }) => !showFault(form, closest(places, pointer), pointer, detail))
  form.querySelector("[aria-invalid]")?.focus()
  return rest
}

function closest(places, pointer) {
  const prefixes = (place) => place.dataset.faultOf.split(" ").filter((name) => pointer === name || pointer.startsWith(`${name}/`))
  return places.find((place) => prefixes(place).length)
}

function showFault(form, place, pointer, detail) {
  if (!place) return false
  place.hidden = false
  fill(place, ...place.childNodes, el("span", {}, visible(detail)))
  place.closest("details")?.setAttribute("open", "")
  const pane = place.closest("[role=tabpanel]")
  if (pane?.hidden) document.getElementById(pane.getAttribute("aria-labelledby")).click()
  form.elements.namedItem(pointer)?.setAttribute("aria-invalid", "true")
  return true
}

export function clearFaults(form) {
  for (const place of form.querySelectorAll("[data-fault-of]")) fill(place).hidden = true
  for (const field of form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid")
}
