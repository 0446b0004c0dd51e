// What is to be known of an API before one connects to it, and where its documentation is.
import { el, fill } from "../dom.js"

export function showNotes(place, preset) {
  place.hidden = !preset
  if (!preset) return fill(place)
  const { title, docs_url, register_url, credential_help, oddities } = preset
  fill(place,
    el("p", {}, el("strong", {}, title)),
    credential_help ? el("p", {}, credential_help) : null,
    oddities.length ? el("ul", {}, oddities.map((oddity) => el("li", {}, oddity))) : null,
    el("p", { class: "preset__links" }, outside(docs_url, "Documentation"), register_url ? outside(register_url, registered(preset)) : null),
    el("p", { id: "preset-left", hidden: true }))
}

const registered = ({ auth }) => (auth.scheme === "oauth2" ? "Where its client is registered" : "Where its credential is made")

const outside = (href, says) => el("a", { href, target: "_blank", rel: "noreferrer" }, says)
