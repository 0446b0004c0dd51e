// The changes from one call to another, in groups by where they are; each says in words and by a sign what it is.
import { el } from "../dom.js"
import { plural, visible } from "../format.js"
import { sidesOf } from "./diff_value.js"
import { inEveryItem, placeOf } from "./pointer.js"

const KINDS = {
  added: ["good", "+ Added"],
  removed: ["bad", "− Removed"],
  changed: ["warning", "≠ Changed"],
}

/** `sides` are the connections of the two calls, whose secrets the marks on each side stand for; `ignore` gets the pointer to leave out. */
export function diffList(changes, sides, ignore) {
  const groups = Map.groupBy(changes, ({ pointer }) => placeOf(pointer).group)
  return [...groups].map(([name, members]) => el("section", { class: "changes", "aria-label": name },
    el("h2", { class: "changes__title" }, name, " ", el("span", { class: "faint" }, plural(members.length, "difference"))),
    el("ol", { class: "changes__list" }, members.map((change) => changeView(change, sides, ignore)))))
}

function changeView(change, [from, to], ignore) {
  const { pointer, kind } = change
  const [colour, word] = KINDS[kind] ?? ["plain", kind]
  const [before, after] = sidesOf(change)
  const every = inEveryItem(pointer)
  return el("li", { class: `change change--${kind}` },
    el("div", { class: "change__head" },
      el("span", { class: `badge badge--${colour}` }, word),
      el("span", { class: "change__path data", title: visible(pointer) }, visible(placeOf(pointer).label)),
      el("button", { type: "button", class: "fix", onclick: () => ignore(pointer), "aria-label": `Ignore ${pointer}` }, "Ignore"),
      every ? el("button", { type: "button", class: "fix", onclick: () => ignore(every), title: every, "aria-label": `Ignore ${every}` }, "Ignore in every item") : null),
    el("div", { class: "change__sides" },
      el("div", { class: "change__side", dataset: { connection: from } }, el("span", { class: "change__label" }, "before"), before),
      el("div", { class: "change__side", dataset: { connection: to } }, el("span", { class: "change__label" }, "after"), after)))
}
