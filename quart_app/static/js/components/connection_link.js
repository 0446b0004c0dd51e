// Addresses of a connection's page; with a field, its form opens there.
import { el } from "../dom.js"

export function connectionPath(name, field) {
  return `/connections/${encodeURIComponent(name)}${field ? `?field=${encodeURIComponent(field).replaceAll("%2F", "/")}` : ""}`
}

/** A link that says what can be changed, straight to where it is changed; null without a field. */
export function fixLink(connection, fix) {
  return fix ? el("a", { class: "fix", href: connectionPath(connection, fix.field) }, fix.label) : null
}
