// A dialog that asks or shows one thing and goes.
import { button, el } from "../dom.js"

/** Opens it and removes it when it closes; resolves to what it was closed with. */
export function showDialog(title, content, buttons, { wide = false } = {}) {
  const dialog = el("dialog", { class: `dialog ${wide ? "dialog--wide" : ""}`, "aria-label": title },
    el("div", { class: "dialog__form" },
      el("header", { class: "dialog__header" }, el("h2", {}, title), button("✕", () => dialog.close(), { kind: "quiet", "aria-label": "Close" })),
      el("div", { class: "dialog__body" }, content),
      el("footer", { class: "dialog__footer" }, buttons.map((make) => make((value) => dialog.close(value))))))
  document.body.append(dialog)
  dialog.showModal()
  return new Promise((resolve) => dialog.addEventListener("close", () => {
    dialog.remove()
    resolve(dialog.returnValue)
  }))
}

export async function confirm(title, text, deed) {
  const answer = await showDialog(title, el("p", {}, text), [
    (close) => button("Cancel", () => close("")),
    (close) => button(deed, () => close("yes"), { kind: "danger" }),
  ])
  return answer === "yes"
}
