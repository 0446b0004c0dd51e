// How full something is, 0 to 1, as a bar; the words beside it say the same.
import { el } from "../dom.js"

export function meter(share, label) {
  const full = Math.min(1, Math.max(0, share))
  const bar = el("span", { class: "meter", role: "meter", "aria-label": label, "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": String(Math.round(full * 100)) })
  bar.style.setProperty("--share", full)
  return bar
}
