// The scopes of a known API as boxes to tick, beside the field that has their names.
import { el, fill } from "../dom.js"

/** Returns show(scopes), which draws them; both ways of saying it stay the same. */
export function scopeTicks(place, input) {
  const names = () => input.value.split(/[\s,]+/).filter(Boolean)
  const ticks = () => [...place.querySelectorAll("input")]
  const toggle = ({ target }) => {
    const others = names().filter((name) => name !== target.value)
    input.value = (target.checked ? [...others, target.value] : others).join(" ")
  }
  const follow = () => {
    const now = new Set(names())
    for (const tick of ticks()) tick.checked = now.has(tick.value)
  }
  const show = (scopes) => {
    place.hidden = !scopes.length
    fill(place, scopes.map(({ name, means }, index) => el("div", { class: "field field--tick" },
      el("input", { type: "checkbox", id: `scope-${index}`, value: name, onchange: toggle, "aria-describedby": `scope-${index}-means` }),
      el("label", { for: `scope-${index}` }, el("code", {}, name)),
      el("p", { class: "field__hint", id: `scope-${index}-means` }, means))))
    follow()
  }
  input.addEventListener("input", follow)
  return show
}
